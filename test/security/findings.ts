/**
 * Findings of the security review of commit 3b9ef41, and of those who attacked a running hub afterwards (SR-A…), each
 * as the behaviour that closes it. `findings.test.ts` requires a test for every row; a test names its row in a comment:
 * `// finding: SR-H1`.
 */

export const FINDINGS: Readonly<Record<string, string>> = {
  'SR-C1':
    'A request that is passed on is built anew, so that a body is never read as a second request; a missing role means no rights.',
  'SR-H1':
    'A refused stream leaves nothing behind, a connection carries one response at a time, and a fault ends its request only.',
  'SR-H2':
    'What a client may have stored is bounded in size, and what is stored never stops the relay between processes.',
  'SR-H3': 'A revoked, expired or narrowed key loses everything that is open for it within a second, on every worker.',
  'SR-H4':
    'Servers do not inherit the environment of the hub or credentials in addresses; what they can still do is documented and tested.',
  'SR-M1':
    'The sender is identified by its headers before a byte of the body is read; bodies in flight and connections have limits and shares.',
  'SR-M2': 'Every container that clients can fill has a share for each key.',
  'SR-M3': 'The texts of a failing server are for the operator; clients get its name, a code and a reference.',
  'SR-M4': 'A resource or template stays with the server that listed it first.',
  'SR-M5': 'The answers of a batch are bounded in bytes and never joined as text.',
  'SR-M6':
    'Lists, stderr, notifications and answers of a server are bounded in rate and size, so that no flood of them stalls the loop.',
  'SR-M7': 'A proxied request is never local.',
  'SR-M8': 'Setting a log level costs the same with any number of sessions and reaches the servers of the caller only.',
  'SR-M9': 'A request that is refused for its key reaches no other worker.',
  'SR-M10': 'A question names the server that asks, and asks for http and https pages only.',
  'SR-L1': 'No wait, heartbeat, crash report or log line shows a key.',
  'SR-L2': 'The audit names the key; an owner key has no groups.',
  'SR-L3': 'An allowed origin matches scheme and port.',
  'SR-L4': 'Configured secrets are masked wherever text leaves for an operator, in every encoding.',
  'SR-L5': 'Socket directories of other users are refused, open files are reported, a guessable first key is refused.',
  'SR-L6': 'A launched server whose port another user has taken is not used.',
  'SR-L7': 'An answer that cannot be understood ends its call at once.',
  'SR-L8': 'Metadata addresses are refused in every spelling.',
  'SR-L9': 'Every answer has the security headers; the systemd unit is confined.',
  'SR-L10': 'Nothing is written into a response that is under way.',
  'SR-L11': 'Requests for / without a key take no places of the API from owners.',
  'SR-L12': 'A configuration file that others may write is reported.',
  'SR-N1': 'Parsing is bounded by structure.',
  'SR-N2': 'Initializing again and again on one stream takes no further places.',
  'SR-N3': 'A refused operation leaves nothing behind.',
  'SR-N4': 'Every answer has a deadline for its reader.',
  'SR-N5': 'A key is remembered once, however its header is spelt.',
  'SR-N6': 'One readiness probe without a key does not delay a stop.',
  'SR-N7': 'A terminal gets no control characters from servers.',
  'SR-N8': 'No invalid JSON of a server reaches a client.',
  'SR-O1': 'The supervisor does not replace a busy worker, and /health answers on time.',
  'SR-A1':
    'When all connections are taken, the owner with most of them loses one, silent and waiting ones first; owners of one or two keep theirs.',
  'SR-A2': 'A flood of connections from one address delays those of other addresses by one turn at most.',
  'SR-A3': 'The number of headers of a request is bounded, and a refusal without a body keeps its connection.',
  'SR-A4': 'Questions for health of one address do not delay those of another.',
  'SR-A5': 'Refused keys are counted for an IPv6 network, not for one address of it.',
  'SR-A6': 'Requests that wait on a connection hold a bounded number of bytes.',
  'SR-A7': 'Two forwarding headers that disagree name no address.',
  'SR-A8': 'No text or field name of a form looks like the label that the hub puts on questions.',
  'SR-A9': 'A server announces changes of its own resources only.',
  'SR-A10':
    'A message of a server has a bounded number of values and members, and a member that stands twice deceives neither the hub nor the client.',
  'SR-A11':
    'Long or failing calls of one key leave places for others at the same server, and do not open its circuit breaker.',
  'SR-A12': 'A key of some groups cannot tell unknown groups and servers from forbidden ones.',
  'SR-A13': 'A request that was passed to another worker ends with its key, also when that worker does not run.',
  'SR-A15': 'A page of another site opens no stream, whether its browser sends Origin or not.',
  'SR-A16':
    'What a server repeats of one caller’s arguments, in a log line or a spoilt answer, ends no call of another.',
  'SR-A14': 'A request whose body arrives after its key was revoked is refused.',
  'SR-A20':
    'What a server says shows no configured secret in any part of any event, and no line of the log holds a character that a terminal obeys.',
  'SR-A19': 'Of an error that a server gives to a handshake the hub reads as much as a list of versions takes.',
  'SR-A18':
    'Slow calls, of whichever key, do not make the hub close the GET stream of a server that answers others beside it.',
  'SR-A17':
    'Decoding an answer costs the same in small chunks as in large ones, ends with the coding, and has a limit for all servers and a share for each.',
};

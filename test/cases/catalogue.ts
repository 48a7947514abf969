/**
 * Cases: what real clients, servers and configuration files send, each row one sentence of the right behaviour.
 * `catalogue.test.ts` requires a test for every row; a test names its rows in a comment: `// case: CL20`, several with
 * commas. A `pending` row has no test yet.
 */

export interface Case {
  readonly behaviour: string;
  /** True while the row may lack a test. */
  readonly pending?: true;
}

export const CASES: Readonly<Record<string, Case>> = {
  CL1: {
    behaviour:
      'A header that arrives twice or as a list counts once when its members are equal; of protocol versions the first known one counts.',
  },
  CL2: {
    behaviour: 'The body decides the era of initialize and of notifications, whatever date the header names.',
  },
  CL3: {
    behaviour:
      'Every refusal is JSON-RPC with an integer code; once its body was read it carries the id of the request.',
  },
  CL4: {
    behaviour:
      'A host name matches with and without its final dot, HTTP/1.0 needs no Host, and every refusal leaves a trace for the operator.',
  },
  CL5: {
    behaviour:
      'Origins of desktop applications and wildcards can be allowed by name; an origin that can never match is refused at start.',
  },
  CL6: {
    behaviour: 'A preflight from an allowed origin allows the headers of both protocol eras.',
  },
  CL7: {
    behaviour:
      'A page of an allowed origin may send its own headers and may read errors, Retry-After and health pages.',
  },
  CL9: {
    behaviour: 'A request that will be refused gets its final status before its body is sent.',
  },
  CL10: {
    behaviour: 'A request body with a content coding is refused with 415.',
  },
  CL17: {
    behaviour:
      'Absolute-form targets and repeated slashes reach the endpoint; a path close to it is answered with the right one.',
  },
  CL18: {
    behaviour: 'The SSE endpoint works behind a proxy that adds a path prefix.',
  },
  CL20: {
    behaviour: 'Empty params mean no params; params of a wrong kind are refused with the id of their request.',
  },
  CL21: {
    behaviour: 'A notification with empty params is accepted with 202 and no body.',
  },
  CL22: {
    behaviour: 'Empty arguments reach the server as {}; arguments of a wrong kind are refused by the hub.',
  },
  CL26: {
    behaviour: 'No answer follows the cancellation of a request, on any transport.',
  },
  CL28: {
    behaviour: 'The error for an unknown tool names the closest tool that the caller may see.',
  },
  CL30: {
    behaviour: 'Whatever a server sends, a client receives valid JSON in valid UTF-8.',
  },
  CL33: {
    behaviour: 'The refusal of a malformed key says what is wrong with it, without the key.',
  },
  CL36: {
    behaviour: 'Two GET streams of one session do not end each other again and again.',
  },
  CL37: {
    behaviour: 'Resuming a stream after its last event is not reported as a lost call, also after a restart.',
  },
  CL38: {
    behaviour: 'A stream begins with an event where there is one, and a keep-alive comment has no blank line.',
  },
  CL41: {
    behaviour: 'A batch is subject to key, session and protocol version; the refusal of a reply has the id null.',
  },
  SV1: {
    behaviour: 'Members of a message that are null count as absent, in answers, lists and the handshake.',
  },
  SV2: {
    behaviour:
      'A server that declares nothing, in whatever form, is asked for tools all the same, and its status says that it declares nothing.',
  },
  SV16: {
    behaviour:
      'A page that fails costs the pages behind it only; status, log and API say so, and a longer list that is known stays.',
  },
  SV20: {
    behaviour:
      'A server whose tools/list is refused is ready with its other lists, and is asked for tools again until it gives them.',
  },
  SV21: {
    behaviour: 'A first empty list is read again after 2, 5, 15 and 60 s, and every list upon `mcphub reload`.',
  },
  SV18: {
    behaviour:
      'An id is found in whatever spelling a server sends it back, and ids stay below a million and are not used again while an answer may come.',
  },
  SV19: {
    behaviour:
      'What a server writes empty in a list, a result or an item of one counts as what was meant, and strict clients accept it.',
  },
  SV26: {
    behaviour:
      'An error without an id, or without an object, reaches the caller where only one request can be meant, with its code and text.',
  },
  SV9: {
    behaviour:
      'Failures of one tool or one user shut a server to nobody; only a server that is gone, or asks for a pause, is left alone, visibly.',
  },
  SV23: {
    behaviour:
      'A server whose process ends at a cancel gets no cancels after the second time, and stays there for others.',
  },
  SV31: {
    behaviour:
      'A child that exits with 0 after its answer is in no crash loop; a last answer without a line end is delivered, and a cut one is named so.',
  },
  SV32: {
    behaviour:
      'When a worker is replaced, the process of a stdio or launched server is ended before the next one starts; calls are forwarded or wait meanwhile, and none fails.',
  },
  SV34: {
    behaviour:
      'A container ends with its server, also when its client is killed: restart, stop, kill -9 of a worker or of the whole hub; one that the hub cannot find, or that its arguments keep, is named at the start and by validate.',
  },
  SV36: {
    behaviour:
      'The error of a call that ends for silence names another call at work which may be silent for longer, and no circuit opens for it.',
  },
  SV46: {
    behaviour:
      'A child that exits with 0 while nothing runs on it sleeps, and the next call starts it and waits for it.',
  },
  SV69: {
    behaviour:
      'A user whose calls end a server’s process again and again is refused there, by name; others find it at once.',
  },
  SX1: {
    behaviour: 'A server that hangs at start delays no other server: not its start, its restart or its calls.',
  },
  SX3: {
    behaviour:
      'A call that failed at its server is told to the operator with tool and cause, in the status and in the log.',
  },
  SV43: {
    behaviour: 'An answer that is no JSON ends its call at once on every wire, and the operator reads what was wrong.',
  },
  SV48: {
    behaviour:
      'A message on stdout is taken with colours or text around it, on several lines, beside others on its line or without a line end; else its call ends at once.',
  },
  SV49: {
    behaviour: 'Two answers mixed in one line end both calls at once, and the error names the setting inFlight.',
  },
  SV22: {
    behaviour:
      'Text of a server that is no UTF-8 arrives with U+FFFD; a string that JSON does not allow ends its own call by name.',
  },
  SX4: {
    behaviour: 'No invalid JSON of a server reaches a client, whatever the wire and the kind of message.',
  },
  SV29: {
    behaviour: 'Members of a result that are null where the specification knows an optional one are left out.',
  },
  SV3: {
    behaviour: 'An answer whose media type and body disagree is read as what it is, and the operator hears of it once.',
  },
  SV6: {
    behaviour:
      'An event that is no message is passed over; messages before and behind it count, in one chunk or in several.',
  },
  SV25: {
    behaviour: 'An answer without a media type, or with an unusual one, is taken, also beside an HTTP error.',
  },
  SV42: {
    behaviour: 'U+2028 and U+2029 are escaped in all that is written to the stdin of a program.',
  },
  SV27: {
    behaviour:
      'A tool, prompt or resource that is nested too deeply is hidden by name and the others stay; a deep result ends its call by name.',
  },
  SV37: {
    behaviour: 'Events before the endpoint of an HTTP+SSE server are passed over.',
  },
  SV4: {
    behaviour:
      'Servers are asked for no content coding; one of gzip, deflate, br and zstd is undone all the same, all frames or members of it, and a body that is damaged or too large ends its own call.',
  },
  SV7: {
    behaviour:
      'Older protocol dates are offered when one is refused or ends the process, the date that the server names first, at most four in a handshake and none after 401 or 403; what was learned is tried first after a reconnect or restart, until the server changes.',
  },
  SV11: {
    behaviour:
      'A reply may come on the GET stream after its POST has ended without one, and on HTTP+SSE in the answer of its POST; it is waited for while that stream is open.',
  },
  SV14: {
    behaviour:
      'A server that handles one request at a time is served with the GET stream closed, learned or configured, and shown.',
  },
  SV47: {
    behaviour:
      'A first question waits for the GET stream as long as the handshake may take; one with an id that is too long is refused, and its call goes on.',
  },
  SV5: {
    behaviour:
      'A redirect (307, 308) to the same path with or without its final slash on the same origin is followed and shown; every other is refused by name.',
  },
  SV41: {
    behaviour:
      'A session id counts once however often it is repeated and may be long; ids that differ are named; cookies that keep a client at one instance are given back until they expire.',
  },
  SV70: {
    behaviour:
      'An event id goes back in UTF-8 bytes, or not at all where no header can carry it; the stream is opened again.',
  },
  SV8: {
    behaviour: 'A server that answers no ping but works is asked for a list instead, and never restarted for it.',
  },
  SV12: {
    behaviour:
      'A session that the server has lost is replaced in whatever form the server says so, after a trial that shows that a new one works.',
  },
  SV12b: {
    behaviour: 'A request that is answered 404 in a good session ends with that answer and leaves the session alone.',
  },
  SV15: {
    behaviour:
      'A GET stream that had been open is asked for again whatever it answers, and lists are read after each gap.',
  },
  SV44: {
    behaviour:
      'An object in structuredContent reaches clients as it is, also where the output schema had to be dropped; only what is no object is taken out.',
  },
  SV54: {
    behaviour:
      'Empty arrays where objects belong, null and other nonsense where keywords have no value, are mended at every depth of a schema.',
  },
  SV58: {
    behaviour:
      'An illegal x-mcp-header of a server of 2025 is taken out of its tool, and no other declaration of it, instead of costing clients of 2026 the tool.',
  },
  SV67: {
    behaviour: 'A server of 2025 gets no _meta that its client has not sent for it.',
  },
  SV50: {
    behaviour:
      'Lists are read again after an unknown tool, and every few minutes, where the server announces no changes.',
  },
  SV52: {
    behaviour: 'A server that changes its protocol era behind its address is met in the other one.',
  },
  SV30: {
    behaviour:
      'A refusal with insufficient_scope names the scope to the operator; a JSON-RPC error in it with the id of the call reaches its caller.',
  },
  SV38: {
    behaviour:
      'An HTTP error names the method and the address that were asked, and the operator reads its first words.',
  },
  SV45: {
    behaviour:
      'A server that refuses the Host header is not told as refused credentials: the cause quotes it and names the setting.',
  },
  SV24: {
    behaviour:
      'A server that allows one session is used again after any crash of the hub, by all workers, and one that refuses to be initialized again is quoted in its status.',
  },
  SV24b: {
    behaviour:
      'While the worker that holds the only session of a server is replaced, every call is answered, and a session is opened only after the one before was ended.',
  },
  SV24d: {
    behaviour:
      'A name that a client has listed at one worker is never unknown at another one; a name that no worker knows is unknown at once, however often it is asked for.',
  },
  SV24c: {
    behaviour:
      'A server that allows one session and refuses DELETE is used again after any crash of the hub and through any replacement, in the same session, with ids that no request in it has had.',
  },
  SV35: {
    behaviour:
      'The answer to notifications/initialized may take as long as the handshake; a server that never gives it is used after a second.',
  },
  SV56: {
    behaviour:
      'The variables that programs inherit are documented, and a program that ends naming one that is not inherited gets a hint.',
  },
  SV62: {
    behaviour:
      'The error of a connection that is refused or unanswered names the addresses that were tried and the reason.',
  },
  SV64: {
    behaviour:
      'The error of each TLS fault names host, reason and the setting that helps, also http in "url" where TLS is spoken, and the reverse; a file of authorities that cannot be used is refused at start.',
  },
  SV65: {
    behaviour: 'The error of a start that takes too long quotes the last lines that the program wrote.',
  },
  SV66: {
    behaviour:
      'A missing interpreter, a Windows line end, a directory as command, a file as working directory and a missing script are each told as what they are.',
  },
  SX5: {
    behaviour: 'Texts that are put together from several end as one sentence and name no empty phase.',
  },
  SV40: {
    behaviour: 'A body whose Content-Length cuts it off ends its call alone, and the operator reads its length.',
  },
};

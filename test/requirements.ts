/**
 * Every promise of the product with its source. Tests cite the ids (`// covers: A3, P9`, or `[A3]` in a test's name);
 * `requirements.test.ts` fails for a promise of the current step that no test cites, and for a citation of nothing.
 * Does not: prove anything by itself. A sentence here is worth what the test behind it can refute.
 */
export interface Requirement {
  readonly id: string;
  readonly sentence: string;
  readonly source: string;
  /** The step of the build from which on a test must cite it. */
  readonly step: number;
}

/** The step that is being built. */
export const CURRENT_STEP = 4;

function group(
  source: string,
  rows: readonly (readonly [id: string, step: number, sentence: string])[],
): readonly Requirement[] {
  return rows.map(([id, step, sentence]) => ({ id, step, sentence, source }));
}

const ACCEPTANCE = group('issue, acceptance', [
  [
    'A1',
    1,
    'From a fresh clone `npm ci && npm start` answers /health within 1 s and lists the tools of all example servers; the curl lines of the incident work as printed, in plain JSON.',
  ],
  ['A2', 1, 'SDK v1, SDK v2 in legacy mode, mcp-remote and the Inspector’s CLI connect, list and call.'],
  [
    'A3',
    1,
    '70 clients, each with its session and GET stream, call for 60 s: every request is answered, no session is lost, the heap after GC stays within 10 %.',
  ],
  [
    'A4',
    1,
    'With one server that never answers and one child that never reads among ten, the hub is ready at once, the others do not notice, and a call to the dead ends at 5 s with an error that names server, phase, time and setting.',
  ],
  [
    'A5',
    1,
    'kill -9 of a hub under load: answering again within 3 s (median 1 s) from the catalog on disk, old sessions go on, no child is left. Control dead or stopped for 60 s: no failed call. kill -9 of the supervisor: nothing is left and the port is free.',
  ],
  ['A6', 1, 'A hub whose loop stalls is replaced with its stack on record, and GET / and /health answer within 8 s.'],
  [
    'A7',
    1,
    'SIGTERM with open streams, a running call of 3 s and a child that ignores SIGTERM: the call is answered and all is gone within 10 s.',
  ],
  [
    'A8',
    1,
    'With stdout a pipe, terminal, file or socket that nobody reads, at debug level: 10,000 requests are answered, memory stays bounded, SIGTERM ends it.',
  ],
  [
    'A9',
    1,
    'Bad configuration, unknown command, missing binary, port in use, second hub on the data directory, expired or wrong key, malformed JSON, a body of 5 MiB, nesting of 100,000, a server named in other letters: a clear error each, the hub untouched.',
  ],
  [
    'A10',
    1,
    'The laws are tests, `npm run check` holds, the README’s two commands and .ci/run work, the bench prints its table.',
  ],
]);

const LAWS = group('architecture, the eight laws', [
  ['L1', 1, 'No wait without an end: every wait for the outside has a label, an owner and a deadline, and ends at it.'],
  ['L2', 1, 'No growth without a ceiling: every container has a maximum and a rule for overflow.'],
  ['L3', 1, 'No work without an owner: background work belongs to a scope that ends it; no promise floats.'],
  ['L4', 1, 'No state without a home: no module has mutable state.'],
  ['L5', 1, 'No long turn of the loop: sizes are checked before parsing, nothing blocks after boot.'],
  ['L6', 1, 'No failure without a name: every error has a row with code, status, level and a hint.'],
  [
    'L7',
    1,
    'No arrow upward: rooms import lower layers only, layer-2 rooms do not know each other, each process loads its own plane.',
  ],
  ['L8', 1, 'The data path waits for nothing but the upstream, the client’s own socket and the named exceptions.'],
]);

const PROMISES = group('reliability, promises', [
  ['P1', 1, 'A hung server changes neither the speed of tools/list nor the tools of the others in it.'],
  ['P2', 1, 'Calls to a hung server do not slow or fail calls to healthy ones.'],
  ['P3', 1, 'Every accepted request gets exactly one answer, no later than its deadline and 250 ms.'],
  ['P4', 5, 'A frozen Redis fails no request.'],
  ['P5', 5, 'A dead, full or read-only Redis fails no request, and sessions are shared again 5 s after its return.'],
  [
    'P6',
    1,
    'With the store away known keys keep working; admin writes fail within 2 s; readiness stays 200, degraded.',
  ],
  ['P7', 5, 'kill -9 of one instance of three fails only the calls in flight on it; sessions go on elsewhere.'],
  ['P8', 3, 'A rolling restart of three instances fails no call under 25 s.'],
  ['P9', 1, 'SIGTERM ends everything within 30 s and leaves no descendant; kill -9 leaves none after 10 s.'],
  ['P10', 1, 'A hung hub is found within 4 s and the port answers within 8 s; a starved host causes no kill.'],
  ['P11', 1, 'No input of up to 4 MiB and no output of a child stalls the loop for more than 100 ms.'],
  ['P12', 1, 'Sessions that are opened and abandoned cost nothing that stays.'],
  ['P13', 1, 'A reader that does not read is cut at 1 MiB or 10 s, and honest readers do not notice.'],
  ['P14', 3, 'A day under load with faults leaves memory, descriptors, timers and children flat.'],
  [
    'P15',
    1,
    'With a hundred dead or cold servers configured the hub is ready and lists within 2 s, and starts at most four children at a time.',
  ],
  ['P16', 1, 'A server that is back serves again within 65 s, from every state of the breaker.'],
  ['P17', 1, 'No tools/call is executed twice by the hub, and no progress follows a result.'],
  [
    'P18',
    1,
    'Colliding ids, tokens and names of different callers never mix; a revoked key ends within 1 s on this machine.',
  ],
  [
    'P19',
    1,
    'kill -9 and a full disk during admin writes: configuration and store always open, nothing acknowledged is lost, /mcp goes on.',
  ],
  [
    'P20',
    1,
    'No key, token or secret appears in logs, errors, the API or a child’s environment; forbidden addresses get no packet.',
  ],
]);

const BEHAVIOURS = group('protocol, behaviours of a hub', [
  ['B1', 4, 'Modern and legacy requests to one URL with one key are both served and do not affect each other.'],
  ['B2', 1, 'initialize with a supported version is echoed, any other is answered 2025-11-25, never with an error.'],
  ['B3', 1, 'tools/list and /health answer within 50 ms while every server is hung.'],
  ['B4', 4, 'Modern header mismatches are 400 −32020 and reach no server.'],
  ['B5', 4, 'Unknown modern methods, versions and missing metadata have their own errors.'],
  [
    'B6',
    1,
    'A plain curl without Accept or session gets JSON for offerings/list and tools/list; no Accept yields 406.',
  ],
  ['B7', 1, 'GET /mcp without a session is 405, with one a stream whose first keep-alive comes within 15 s.'],
  ['B8', 1, 'After kill -9 and restart a client with its old session id lists and calls at once.'],
  ['B9', 1, 'After DELETE the session id is answered 404.'],
  ['B10', 2, 'A legacy client that resumes by Last-Event-ID gets its result exactly once.'],
  // The other half of the tenth.
  ['D10', 4, 'A modern client’s drop cancels the call upstream.'],
  ['B11', 4, 'Legacy results have no modern members, modern results have them all.'],
  ['B12', 1, 'A tool that clients would reject hides or repairs only itself.'],
  ['B13', 1, 'Exposed names are legal, unique and stable, and a call by a mangled spelling reaches the right tool.'],
  ['B14', 2, 'Two users of one shared server get only their own questions, progress, logs and results.'],
  ['B15', 4, 'A legacy server’s question reaches a modern client, and the answer may come to another hub.'],
  ['B16', 4, 'A modern server’s question reaches a legacy client.'],
  ['B17', 4, 'A request state that was altered or belongs to another is refused.'],
  ['B18', 2, 'A changed list is told once, within 1 s, to those who asked and nobody else.'],
  ['B19', 4, 'A subscription is acknowledged within 100 ms with one server hung.'],
  [
    'B20',
    2,
    'Log messages go only to the session that caused them, from the level that it has set; info where it has set none.',
  ],
  ['B21', 1, 'A cancelled call is cancelled upstream exactly once, and its request there is closed.'],
  [
    'B22',
    1,
    'A server that swallows, drips, floods or never reads delays only its own callers and is bounded in memory.',
  ],
  ['B23', 1, 'Stopping a stdio server leaves no descendant; a crash restarts it with backoff and lists it again.'],
  ['B24', 1, 'The caller’s Authorization header never reaches a server.'],
  ['B25', 1, 'Ids and progress tokens come back unchanged in value and type, and progress stops at the result.'],
]);

/** Its third line is the behaviours below. */
const SECOND_STEP = group('issue of step 2, acceptance', [
  ['E1', 2, 'Both conformance suites pass through the hub, over HTTP and stdio, with no expected failure.'],
  [
    'E2',
    2,
    'Each part of server-everything works through the hub with SDK v1 and v2; a cancel stops the work within 1 s.',
  ],
  ['E4', 2, '20,000 interleaved calls with colliding ids and tokens on one shared server bring no foreign byte.'],
  ['E5', 2, 'A dropped call is resumed with its result once, or is told lost with its hub; no progress comes late.'],
  ['E6', 2, 'Reconfiguration under load fails no call of untouched servers, and each changed list is told once.'],
]);

/** Its second line is the behaviours. */
const FOURTH_STEP = group('issue of step 4, acceptance', [
  [
    'F1',
    4,
    'The conformance suites of both eras pass against servers of either, of both and over stdio, and with the hub as their client, but for what any bridge loses.',
  ],
  ['F3', 4, 'Questions of a server of either era reach a user of the other and are answered, over several rounds.'],
  ['F4', 4, 'Interleaved calls of two users in both eras, with colliding ids and tokens, bring no foreign byte.'],
  ['F5', 4, 'A hung server delays no greeting, list, subscription or call to another server, in either era.'],
]);

export const REQUIREMENTS: readonly Requirement[] = [
  ...ACCEPTANCE,
  ...SECOND_STEP,
  ...FOURTH_STEP,
  ...LAWS,
  ...PROMISES,
  ...BEHAVIOURS,
];

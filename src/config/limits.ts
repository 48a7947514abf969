/**
 * The table of all limits: every figure that bounds a wait, a size or a count, with unit, range, environment variable
 * and reason. `docs/limits.md` is generated from it.
 * Guarantees: 0 never means "no limit"; every value is finite.
 */
export type Unit = 'ms' | 'bytes' | 'count' | 'depth' | 'per-second' | 'per-minute' | 'port';

/**
 * When a change in the configuration of a running hub takes effect. `live`: for everything that begins afterwards.
 * `reconnect`: for a server when its next connection opens; what clients send is checked against it at once.
 * `restart`: for a worker when it is replaced (SIGUSR2), for those of `HUB_LIMITS` when the hub is started again.
 */
export type Applies = 'live' | 'reconnect' | 'restart';

export interface LimitRow {
  readonly default: number;
  readonly unit: Unit;
  readonly min: number;
  readonly max: number;
  readonly env: string;
  /** The reason for this figure, in one sentence. */
  readonly why: string;
  readonly applies: Applies;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

type Row = readonly [value: number, unit: Unit, range: readonly [number, number], env: string, why: string];

/** A limit whose change applies at once. */
function row(...[value, unit, [min, max], env, why]: Row): LimitRow {
  return { default: value, unit, min, max, env, why, applies: 'live' };
}

/** A limit that a connection to a server keeps for its life. */
function atReconnect(...values: Row): LimitRow {
  return { ...row(...values), applies: 'reconnect' };
}

/** A limit that a process keeps for its life. */
function atRestart(...values: Row): LimitRow {
  return { ...row(...values), applies: 'restart' };
}

export const LIMITS = {
  // Listening
  port: atRestart(3000, 'port', [0, 65535], 'PORT', 'Where clients expect the hub; 0 = a free port, for tests.'),
  workers: atRestart(
    1,
    'count',
    [1, 64],
    'MCPHUB_WORKERS',
    'Worker processes; one serves hundreds of people, and more workers than cores are of no use.',
  ),
  hubMemoryBytes: atRestart(
    1024 * MiB,
    'bytes',
    [96 * MiB, 65_536 * MiB],
    'MCPHUB_HUB_MEMORY_BYTES',
    'Resident memory above which a worker is replaced; at most its share of 60 % of the memory of the container or machine.',
  ),
  connections: row(
    10_000,
    'count',
    [16, 100_000],
    'MCPHUB_CONNECTIONS',
    'Sockets cost about 10 kB each; 64 descriptors stay in reserve.',
  ),
  turnMs: row(
    4,
    'ms',
    [1, 100],
    'MCPHUB_TURN_MS',
    'Requests are started for this long in one turn of the event loop; the others wait for the next turns, one of each key in turn.',
  ),
  readTurnMs: row(
    16,
    'ms',
    [1, 1000],
    'MCPHUB_READ_TURN_MS',
    'When requests have arrived for this long in one turn of the event loop, other connections are read in the next turns, one of each key in turn.',
  ),
  pipelined: row(
    16,
    'count',
    [1, 1024],
    'MCPHUB_PIPELINED',
    'Requests of one connection that wait for the response before them; a connection that brings more is closed.',
  ),
  pipelinedBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_PIPELINED_BYTES',
    'Bytes of these requests, with the bodies that they announce; they wait before their key is checked.',
  ),
  connectionsPerAddress: row(
    5000,
    'count',
    [8, 100_000],
    'MCPHUB_CONNECTIONS_PER_ADDRESS',
    'Waiting connections of one address (IPv6: one /64) without a key; beyond it the oldest of them is closed. Trusted proxies have no share.',
  ),
  connectionsPerKey: row(
    8000,
    'count',
    [8, 100_000],
    'MCPHUB_CONNECTIONS_PER_KEY',
    'Kept connections of one key that wait for its next request; beyond it the oldest of them is closed.',
  ),
  headers: atRestart(
    128,
    'count',
    [32, 1000],
    'MCPHUB_HEADERS',
    'Headers of one request; each is kept as text until the request is complete, so that many small ones hold ten times their bytes.',
  ),
  headersMs: row(
    10 * SECOND,
    'ms',
    [1 * SECOND, 2 * MINUTE],
    'MCPHUB_HEADERS_MS',
    'Time for the headers of a request to arrive; slower clients are disconnected.',
  ),
  requestMs: row(
    30 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_REQUEST_MS',
    'Time for a whole request to arrive.',
  ),
  keepAliveMs: row(
    75 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_KEEP_ALIVE_MS',
    'Longer than the 60 s of common proxies, so that they close first.',
  ),
  handoverMs: row(
    10 * SECOND,
    'ms',
    [1 * SECOND, 1 * MINUTE],
    'MCPHUB_HANDOVER_MS',
    'A connection waits this long in the supervisor while no worker is ready, then gets 503.',
  ),
  handoverQueue: row(
    4096,
    'count',
    [16, 65_536],
    'MCPHUB_HANDOVER_QUEUE',
    'Connections that wait in the supervisor while a worker restarts.',
  ),
  // What a client may send
  bodyBytes: row(
    4 * MiB,
    'bytes',
    [1 * KiB, 64 * MiB],
    'MCPHUB_BODY_BYTES',
    'The MCP SDK’s own limit; 3.4 MB of JSON cost 20 ms to parse.',
  ),
  bodyDepth: atReconnect(
    64,
    'depth',
    [8, 512],
    'MCPHUB_BODY_DEPTH',
    'Deep nesting blocks a parser for most of a second.',
  ),
  bodiesBytes: row(
    128 * MiB,
    'bytes',
    [1 * MiB, 4096 * MiB],
    'MCPHUB_BODIES_BYTES',
    'Bytes in bodies that are arriving or whose requests are not answered, of all clients together.',
  ),
  bodiesBytesPerKey: row(
    64 * MiB,
    'bytes',
    [1 * MiB, 4096 * MiB],
    'MCPHUB_BODIES_BYTES_PER_KEY',
    'The same of one key, or of one address without a key; 16 of the largest bodies.',
  ),
  openBodies: row(
    2048,
    'count',
    [16, 100_000],
    'MCPHUB_OPEN_BODIES',
    'Bodies that have begun to arrive and are not complete, of all clients together.',
  ),
  openBodiesPerKey: row(
    512,
    'count',
    [4, 100_000],
    'MCPHUB_OPEN_BODIES_PER_KEY',
    'The same of one key, or of one address without a key.',
  ),
  bodyMs: row(
    30 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_BODY_MS',
    'Time for a body to arrive; slower requests are refused.',
  ),
  bodyValues: row(
    250_000,
    'count',
    [1000, 5_000_000],
    'MCPHUB_BODY_VALUES',
    'JSON values in one body; each costs about 10 ns to scan, and no body may block the event loop for 20 ms.',
  ),
  paramsMembers: row(64, 'count', [16, 1024], 'MCPHUB_PARAMS_MEMBERS', 'Members of params; a call has three or four.'),
  paramsValues: row(
    4096,
    'count',
    [64, 100_000],
    'MCPHUB_PARAMS_VALUES',
    'JSON values in params outside of arguments, such as _meta and capabilities; the hub reads them several times.',
  ),
  paramsBytes: row(
    512 * KiB,
    'bytes',
    [16 * KiB, 16 * MiB],
    'MCPHUB_PARAMS_BYTES',
    'Bytes of params outside of arguments, for the same reason.',
  ),
  batchBytes: row(
    1 * MiB,
    'bytes',
    [1 * KiB, 16 * MiB],
    'MCPHUB_BATCH_BYTES',
    'Bytes of a batch (2025-03-26 only), which is scanned twice.',
  ),
  discardBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_DISCARD_BYTES',
    'Bytes of a refused request’s body that are read and dropped, so that its sender sees the answer and not a reset.',
  ),
  discardMs: row(
    1 * SECOND,
    'ms',
    [50, 30 * SECOND],
    'MCPHUB_DISCARD_MS',
    'Time for that before the connection is closed.',
  ),
  halfClosedMs: row(
    1500,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_HALF_CLOSED_MS',
    'Time in which a client that has ended its half of a connection is found to be gone: what it waits for is cancelled then.',
  ),
  idBytes: atReconnect(
    256,
    'bytes',
    [16, 4 * KiB],
    'MCPHUB_ID_BYTES',
    'A JSON-RPC id is echoed; it must not be a payload.',
  ),
  uriBytes: row(
    4 * KiB,
    'bytes',
    [256, 64 * KiB],
    'MCPHUB_URI_BYTES',
    'A URI in a request, as it is sent; it is kept with each subscription.',
  ),
  nameBytes: row(
    1 * KiB,
    'bytes',
    [64, 64 * KiB],
    'MCPHUB_NAME_BYTES',
    'A tool, prompt or argument name, a log level or a version in a request, as it is sent.',
  ),
  cursorBytes: row(
    4 * KiB,
    'bytes',
    [256, 64 * KiB],
    'MCPHUB_CURSOR_BYTES',
    'A cursor in a list request, as it is sent.',
  ),
  initializeBytes: row(
    256 * KiB,
    'bytes',
    [4 * KiB, 4 * MiB],
    'MCPHUB_INITIALIZE_BYTES',
    'The params of initialize; they are read several times, and 256 KiB take 5 ms.',
  ),
  batch: atReconnect(100, 'count', [1, 1000], 'MCPHUB_BATCH', 'Messages in one batch (2025-03-26 only).'),
  batchAnswerBytes: row(
    32 * MiB,
    'bytes',
    [64 * KiB, 256 * MiB],
    'MCPHUB_BATCH_ANSWER_BYTES',
    'All answers of one batch together, as large as one answer may be; the calls beyond it are cancelled and get an error each.',
  ),
  // Admission
  calls: row(4096, 'count', [1, 65_536], 'MCPHUB_CALLS', 'Calls in flight in one worker.'),
  keyInFlight: row(
    256,
    'count',
    [1, 16_384],
    'MCPHUB_KEY_IN_FLIGHT',
    'Calls of one key at once; one key must not fill the hub.',
  ),
  keyPerSecond: row(
    1_000_000,
    'per-second',
    [1, 1_000_000],
    'MCPHUB_KEY_PER_SECOND',
    'Requests of one key a second; the default is above normal use.',
  ),
  addressPerSecond: row(
    20,
    'per-second',
    [1, 100_000],
    'MCPHUB_ADDRESS_PER_SECOND',
    'Requests without a valid key from one address.',
  ),
  failedKeysPerMinute: row(
    10,
    'per-minute',
    [1, 100_000],
    'MCPHUB_FAILED_KEYS_PER_MINUTE',
    'Wrong keys from one address before it gets 429.',
  ),
  addresses: row(10_000, 'count', [100, 1_000_000], 'MCPHUB_ADDRESSES', 'Addresses whose failures are remembered.'),
  refusalLinesPerAddress: row(
    10,
    'per-minute',
    [1, 100_000],
    'MCPHUB_REFUSAL_LINES_PER_ADDRESS',
    'Log lines about refused requests of one address; the others are counted.',
  ),
  refusalLinesPerMinute: row(
    300,
    'per-minute',
    [1, 100_000],
    'MCPHUB_REFUSAL_LINES_PER_MINUTE',
    'Log lines about refused requests of all addresses together.',
  ),
  // Sessions and streams
  sessions: row(
    50_000,
    'count',
    [100, 1_000_000],
    'MCPHUB_SESSIONS',
    'Sessions kept in memory (opening a sealed id costs 25 µs).',
  ),
  sessionIdleMs: row(
    10 * MINUTE,
    'ms',
    [10 * SECOND, 24 * HOUR],
    'MCPHUB_SESSION_IDLE_MS',
    'Freed from memory after this; the session id stays valid.',
  ),
  sessionMs: row(
    24 * HOUR,
    'ms',
    [1 * MINUTE, 30 * 24 * HOUR],
    'MCPHUB_SESSION_MS',
    'Age at which a sealed session id stops being accepted.',
  ),
  tombstones: row(
    50_000,
    'count',
    [100, 1_000_000],
    'MCPHUB_TOMBSTONES',
    'Ids ended by DELETE, remembered for sessionMs.',
  ),
  sessionsPerKey: row(
    25_000,
    'count',
    [1, 1_000_000],
    'MCPHUB_SESSIONS_PER_KEY',
    'Sessions of one key in memory, and sessions of one key with a log level or subscriptions; beyond it the key’s own oldest goes.',
  ),
  tombstonesPerKey: row(
    25_000,
    'count',
    [1, 1_000_000],
    'MCPHUB_TOMBSTONES_PER_KEY',
    'Ended ids of one key; beyond it the key’s own oldest is forgotten, never another’s.',
  ),
  sessionSubscriptions: row(
    256,
    'count',
    [1, 10_000],
    'MCPHUB_SESSION_SUBSCRIPTIONS',
    'Resources that one session is subscribed to.',
  ),
  sessionPreferencesBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 1 * MiB],
    'MCPHUB_SESSION_PREFERENCES_BYTES',
    'Log level and subscriptions of one session as JSON; each change is written to the store and sent to every worker.',
  ),
  preferencesBytes: row(
    32 * MiB,
    'bytes',
    [64 * KiB, 1024 * MiB],
    'MCPHUB_PREFERENCES_BYTES',
    'Subscriptions of all sessions, with 256 bytes for each; as many are loaded when the hub starts.',
  ),
  preferencesBytesPerKey: row(
    8 * MiB,
    'bytes',
    [1 * KiB, 1024 * MiB],
    'MCPHUB_PREFERENCES_BYTES_PER_KEY',
    'The same of one key: about 26,000 subscriptions.',
  ),
  streams: row(
    10_000,
    'count',
    [16, 100_000],
    'MCPHUB_STREAMS',
    'Long SSE responses at once; when all are open, the oldest of the key that has most is closed for a new one.',
  ),
  streamsPerKey: row(
    5000,
    'count',
    [1, 100_000],
    'MCPHUB_STREAMS_PER_KEY',
    'The same, of one key, or of one address in a group that is open without a key.',
  ),
  streamMs: row(
    24 * HOUR,
    'ms',
    [1 * MINUTE, 7 * 24 * HOUR],
    'MCPHUB_STREAM_MS',
    'Oldest age of a GET stream; clients reconnect by themselves.',
  ),
  streamKeepAliveMs: row(
    15 * SECOND,
    'ms',
    [1 * SECOND, 1 * MINUTE],
    'MCPHUB_STREAM_KEEP_ALIVE_MS',
    'Proxies cut idle streams at 60 s, Cursor at 300 s.',
  ),
  streamBytes: row(
    1 * MiB,
    'bytes',
    [16 * KiB, 64 * MiB],
    'MCPHUB_STREAM_BYTES',
    'Unread bytes of one stream, beyond which its reader is disconnected.',
  ),
  streamsBytes: row(
    64 * MiB,
    'bytes',
    [1 * MiB, 4096 * MiB],
    'MCPHUB_STREAMS_BYTES',
    'Unread bytes of all streams together; beyond it the streams that have been unread for longest are closed.',
  ),
  streamSlowMs: row(
    10 * SECOND,
    'ms',
    [1 * SECOND, 5 * MINUTE],
    'MCPHUB_STREAM_SLOW_MS',
    'A client that reads nothing for this long is disconnected.',
  ),
  unreadBytes: row(
    128 * MiB,
    'bytes',
    [1 * MiB, 4096 * MiB],
    'MCPHUB_UNREAD_BYTES',
    'Complete answers that their readers have not taken, of all clients together; beyond it the key that holds most loses the one that has waited longest.',
  ),
  unreadBytesPerKey: row(
    64 * MiB,
    'bytes',
    [1 * MiB, 4096 * MiB],
    'MCPHUB_UNREAD_BYTES_PER_KEY',
    'The same, of one key, or of one address without a key; beyond it the key’s own oldest is closed.',
  ),
  vanishedLookMs: row(
    30 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_VANISHED_LOOK_MS',
    'Interval of the check for unreachable clients; a client found unreachable twice in a row is disconnected (Linux).',
  ),
  streamAfterMs: row(
    1 * SECOND,
    'ms',
    [50, 1 * MINUTE],
    'MCPHUB_STREAM_AFTER_MS',
    'A call of a session that takes longer is answered on a stream, which the client can resume.',
  ),
  questions: row(
    4096,
    'count',
    [1, 100_000],
    'MCPHUB_QUESTIONS',
    'Questions of servers to users that are open at once.',
  ),
  parked: row(
    256,
    'count',
    [1, 10_000],
    'MCPHUB_PARKED',
    'Calls of clients without sessions (2026-07-28) that wait for their users at once.',
  ),
  parkedPerKey: row(16, 'count', [1, 10_000], 'MCPHUB_PARKED_PER_KEY', 'The same, of one key.'),
  updatesPerSecond: row(
    10_000,
    'per-second',
    [100, 1_000_000],
    'MCPHUB_UPDATES_PER_SECOND',
    'Messages to subscribers that the resource updates of one server may cause; a message costs up to 20 µs.',
  ),
  questionsPerKey: row(1024, 'count', [1, 100_000], 'MCPHUB_QUESTIONS_PER_KEY', 'Open questions to users of one key.'),
  resumableStreamsPerKey: row(
    5000,
    'count',
    [1, 100_000],
    'MCPHUB_RESUMABLE_STREAMS_PER_KEY',
    'Streams of one key that can be resumed, half of `streams`; beyond it the key’s own oldest cannot be any more.',
  ),
  retainedStreamsPerKey: row(
    2500,
    'count',
    [1, 100_000],
    'MCPHUB_RETAINED_STREAMS_PER_KEY',
    'GET streams of one key that are retained for a client to resume; beyond it the key’s own oldest is discarded.',
  ),
  replayBytesPerKey: row(
    16 * MiB,
    'bytes',
    [64 * KiB, 4 * 1024 * MiB],
    'MCPHUB_REPLAY_BYTES_PER_KEY',
    'Events of one key kept for Last-Event-ID, a quarter of replayAllBytes.',
  ),
  replayEvents: row(100, 'count', [1, 10_000], 'MCPHUB_REPLAY_EVENTS', 'Events of one stream kept for Last-Event-ID.'),
  replayBytes: row(
    256 * KiB,
    'bytes',
    [1 * KiB, 64 * MiB],
    'MCPHUB_REPLAY_BYTES',
    'Bytes of one stream kept for Last-Event-ID; one larger answer is kept alone.',
  ),
  replayAllBytes: row(
    64 * MiB,
    'bytes',
    [1 * MiB, 4 * 1024 * MiB],
    'MCPHUB_REPLAY_ALL_BYTES',
    'Bytes kept for Last-Event-ID in all; what is more is sent and not kept.',
  ),
  replayMs: row(2 * MINUTE, 'ms', [1 * SECOND, 1 * HOUR], 'MCPHUB_REPLAY_MS', 'How long a lost stream can be resumed.'),
  // Calls upstream
  silenceMs: row(
    5 * SECOND,
    'ms',
    [100, 1 * HOUR],
    'MCPHUB_SILENCE_MS',
    'A call ends after this time without a response or progress.',
  ),
  silenceRaisedMs: row(
    60 * SECOND,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_SILENCE_RAISED_MS',
    'What a server gets after its pong came too late once.',
  ),
  questionMs: row(2500, 'ms', [50, 10 * MINUTE], 'MCPHUB_QUESTION_MS', 'Silence after which a ping is sent.'),
  totalMs: row(
    10 * MINUTE,
    'ms',
    [1 * SECOND, 24 * HOUR],
    'MCPHUB_TOTAL_MS',
    'Total time of a tool call, whatever progress it sends.',
  ),
  connectMs: atReconnect(3 * SECOND, 'ms', [100, 1 * MINUTE], 'MCPHUB_CONNECT_MS', 'TCP and TLS together.'),
  dnsMs: row(2 * SECOND, 'ms', [100, 30 * SECOND], 'MCPHUB_DNS_MS', 'Two dead names must not stall others.'),
  handshakeMs: row(
    5 * SECOND,
    'ms',
    [100, 5 * MINUTE],
    'MCPHUB_HANDSHAKE_MS',
    'initialize of a remote server, initialized included.',
  ),
  startMs: row(
    60 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_START_MS',
    'From spawn to the initialize answer of a stdio server.',
  ),
  installMs: row(
    5 * MINUTE,
    'ms',
    [5 * SECOND, 1 * HOUR],
    'MCPHUB_INSTALL_MS',
    'npx or uvx fetching a package, in the background.',
  ),
  listMs: row(5 * SECOND, 'ms', [100, 5 * MINUTE], 'MCPHUB_LIST_MS', 'One page of a list, in the background only.'),
  pingMs: row(5 * SECOND, 'ms', [100, 1 * MINUTE], 'MCPHUB_PING_MS', 'Response to a liveness ping.'),
  pingEveryMs: row(
    30 * SECOND,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_PING_EVERY_MS',
    'How often an idle link is asked, ± 10 %.',
  ),
  starting: row(
    4,
    'count',
    [1, 64],
    'MCPHUB_STARTING',
    'Children that load at the same time, and installs (one of more than 20 s lets the next in); many npx at once slow each other down.',
  ),
  serverInFlight: row(
    64,
    'count',
    [1, 4096],
    'MCPHUB_SERVER_IN_FLIGHT',
    'Calls in flight at one remote server; a single key may hold three quarters of them.',
  ),
  stdioInFlight: row(
    32,
    'count',
    [1, 4096],
    'MCPHUB_STDIO_IN_FLIGHT',
    'Calls in flight at one stdio server; a single key may hold three quarters of them.',
  ),
  serverNotificationsPerSecond: atReconnect(
    500,
    'per-second',
    [1, 100_000],
    'MCPHUB_SERVER_NOTIFICATIONS_PER_SECOND',
    'Progress, log lines and updates of one server connection that are passed on, twice as many at once; each costs 10 to 20 µs and a write to a client.',
  ),
  noticeBytes: atReconnect(
    512 * KiB,
    'bytes',
    [4 * KiB, 1 * MiB],
    'MCPHUB_NOTICE_BYTES',
    'Largest notification of a server (progress, log line, update); a larger one is dropped, for two of them fill what a stream may hold unread.',
  ),
  serverQueue: row(2048, 'count', [0, 65_536], 'MCPHUB_SERVER_QUEUE', 'Calls that wait for a place at one server.'),
  serverQueueMs: row(2 * SECOND, 'ms', [10, 1 * MINUTE], 'MCPHUB_SERVER_QUEUE_MS', 'Longest wait for such a place.'),
  serverConnections: atReconnect(64, 'count', [1, 1024], 'MCPHUB_SERVER_CONNECTIONS', 'Sockets to one remote server.'),
  answerBytes: atReconnect(
    32 * MiB,
    'bytes',
    [64 * KiB, 256 * MiB],
    'MCPHUB_ANSWER_BYTES',
    'Largest answer of a remote server.',
  ),
  answerValues: atReconnect(
    500_000,
    'count',
    [10_000, 50_000_000],
    'MCPHUB_ANSWER_VALUES',
    'JSON values in one message of a server; each costs 10 to 20 ns to scan, and no message may block the event loop for long.',
  ),
  repairBytes: atReconnect(
    1 * MiB,
    'bytes',
    [4 * KiB, 16 * MiB],
    'MCPHUB_REPAIR_BYTES',
    'Largest message of a server that is repaired when it is not valid UTF-8, and largest error when it has no code or message; what is larger is refused.',
  ),
  errorBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 1 * MiB],
    'MCPHUB_ERROR_BYTES',
    'Read of an HTTP error body; proxies send whole pages.',
  ),
  stdioLineBytes: atReconnect(
    16 * MiB,
    'bytes',
    [64 * KiB, 256 * MiB],
    'MCPHUB_STDIO_LINE_BYTES',
    'Largest message of a stdio server.',
  ),
  questionBytes: row(
    1 * MiB,
    'bytes',
    [4 * KiB, 16 * MiB],
    'MCPHUB_QUESTION_BYTES',
    'Largest question of a server to a user (elicitation, sampling); it is parsed to put the server’s name in front.',
  ),
  stdinBytes: atReconnect(
    1 * MiB,
    'bytes',
    [64 * KiB, 64 * MiB],
    'MCPHUB_STDIN_BYTES',
    'Bytes that wait behind what a child is reading, before calls are refused.',
  ),
  stdinStuckMs: atReconnect(
    10 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_STDIN_STUCK_MS',
    'A child that takes nothing for this long is restarted.',
  ),
  stderrTailBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_STDERR_TAIL_BYTES',
    'Kept of a child’s stderr for `servers logs`.',
  ),
  stderrShownBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_STDERR_SHOWN_BYTES',
    'Bytes of a child’s stderr a second that are split into lines and logged; further bytes are counted.',
  ),
  stderrShownLines: row(
    500,
    'count',
    [10, 10_000],
    'MCPHUB_STDERR_SHOWN_LINES',
    'Lines of a child’s stderr a second that are logged; 64 KiB can hold 32,000 of them, and each costs about 10 µs.',
  ),
  stderrReadBytes: row(
    4 * MiB,
    'bytes',
    [64 * KiB, 256 * MiB],
    'MCPHUB_STDERR_READ_BYTES',
    'Bytes of a child’s stderr a second that are read at all; a child that writes more waits.',
  ),
  childTermMs: row(
    2 * SECOND,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_CHILD_TERM_MS',
    'Each step of ending a child: EOF, SIGTERM, SIGKILL.',
  ),
  restartBaseMs: row(
    1 * SECOND,
    'ms',
    [50, 1 * MINUTE],
    'MCPHUB_RESTART_BASE_MS',
    'First delay before a lost server is reconnected.',
  ),
  restartCapMs: row(
    60 * SECOND,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_RESTART_CAP_MS',
    'Longest delay; a server is used again at most 65 s after it recovers.',
  ),
  // Catalog
  servers: row(500, 'count', [1, 5000], 'MCPHUB_SERVERS', 'Configured servers.'),
  serverTools: row(
    5000,
    'count',
    [1, 50_000],
    'MCPHUB_SERVER_TOOLS',
    'Rows of one list of a server (tools, prompts, resources, templates); more are hidden and named in the log.',
  ),
  listingBytes: row(
    4 * MiB,
    'bytes',
    [64 * KiB, 64 * MiB],
    'MCPHUB_LISTING_BYTES',
    'Rows of one list of a server together; what is beyond is hidden and named in the log.',
  ),
  relistMs: row(
    500,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_RELIST_MS',
    'Between two readings of a list that changes; doubles while it keeps changing.',
  ),
  relistCapMs: row(
    60 * SECOND,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_RELIST_CAP_MS',
    'Longest such pause: a list that keeps changing is read once a minute.',
  ),
  listPages: row(64, 'count', [1, 1000], 'MCPHUB_LIST_PAGES', 'Pages of one list; an endless cursor ends here.'),
  descriptionBytes: row(
    8 * KiB,
    'bytes',
    [256, 1 * MiB],
    'MCPHUB_DESCRIPTION_BYTES',
    'A longer description is truncated.',
  ),
  schemaBytes: row(
    256 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_SCHEMA_BYTES',
    'A tool with a larger schema is hidden, and any other row that is larger.',
  ),
  firstCatalogMs: row(
    3 * SECOND,
    'ms',
    [10, 30 * SECOND],
    'MCPHUB_FIRST_CATALOG_MS',
    'A list waits this long for a server that has never been listed.',
  ),
  // Breaker
  breakerFailures: row(
    5,
    'count',
    [1, 1000],
    'MCPHUB_BREAKER_FAILURES',
    'Transport failures in a row that open a server’s breaker.',
  ),
  breakerOpenMs: row(
    2 * SECOND,
    'ms',
    [100, 10 * MINUTE],
    'MCPHUB_BREAKER_OPEN_MS',
    'First delay of an open circuit breaker before its probe; doubles, with jitter.',
  ),
  breakerCapMs: row(
    60 * SECOND,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_BREAKER_CAP_MS',
    'Longest delay of an open circuit breaker.',
  ),
  // Control and disk
  storeMs: row(2 * SECOND, 'ms', [100, 30 * SECOND], 'MCPHUB_STORE_MS', 'One statement of the store.'),
  forwardMs: row(
    5 * SECOND,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_FORWARD_MS',
    'A worker waits this long for the control process to answer a request to /api.',
  ),
  adminRequests: row(
    64,
    'count',
    [4, 4096],
    'MCPHUB_ADMIN_REQUESTS',
    'Requests to /api that one worker sends to the control process at once.',
  ),
  forwardedPerKey: row(
    2048,
    'count',
    [1, 4096],
    'MCPHUB_FORWARDED_PER_KEY',
    'Requests and streams of one key on their way to another worker, of 4,096 in all.',
  ),
  nameQuestionsPerKey: row(
    8,
    'count',
    [1, 64],
    'MCPHUB_NAME_QUESTIONS_PER_KEY',
    'Names of one key that a worker does not know and asks the other workers for at once, of 64 in all; beyond that they are unknown at once.',
  ),
  adminRequestsPerKey: row(
    16,
    'count',
    [1, 4096],
    'MCPHUB_ADMIN_REQUESTS_PER_KEY',
    'Of these, those of one key, so that one owner cannot keep the others out.',
  ),
  adminConnections: row(
    256,
    'count',
    [16, 10_000],
    'MCPHUB_ADMIN_CONNECTIONS',
    'Connections on each of the two sockets of the control process; workers cannot use up those of the operator.',
  ),
  adminBodyBytes: row(
    64 * KiB,
    'bytes',
    [1 * KiB, 4 * MiB],
    'MCPHUB_ADMIN_BODY_BYTES',
    'Body of a request to /api; the longest that is sent, a key with its groups, is far below.',
  ),
  askUserMs: row(
    10 * MINUTE,
    'ms',
    [1 * SECOND, 1 * HOUR],
    'MCPHUB_ASK_USER_MS',
    'A question of a server to a user stays open; the total time of the call is suspended meanwhile.',
  ),
  lanes: row(
    64,
    'count',
    [1, 10_000],
    'MCPHUB_LANES',
    'Sessions that one interactive server serves at once, each on a separate connection or child process.',
  ),
  lanesPerKey: row(
    32,
    'count',
    [1, 10_000],
    'MCPHUB_LANES_PER_KEY',
    'The same of one key; each may be a separate process.',
  ),
  laneIdleMs: row(
    5 * MINUTE,
    'ms',
    [1 * SECOND, 24 * HOUR],
    'MCPHUB_LANE_IDLE_MS',
    'An interactive server’s connection of a session that calls nothing is closed after this.',
  ),
  askMs: row(
    1 * SECOND,
    'ms',
    [50, 30 * SECOND],
    'MCPHUB_ASK_MS',
    'Timeout of requests from the control process to a worker, and from the CLI to both.',
  ),
  factsQueue: row(
    10_000,
    'count',
    [100, 1_000_000],
    'MCPHUB_FACTS_QUEUE',
    'Events on their way to control; the oldest are dropped.',
  ),
  snapshotBytes: row(
    64 * MiB,
    'bytes',
    [1 * MiB, 512 * MiB],
    'MCPHUB_SNAPSHOT_BYTES',
    'Largest snapshot on the relay or on disk.',
  ),
  confirmKeysMs: row(
    2 * SECOND,
    'ms',
    [100, 10 * SECOND],
    'MCPHUB_CONFIRM_KEYS_MS',
    'Longest wait of `keys create`, `rotate`, `revoke` and a reload for the workers to apply it; then those that have not are named.',
  ),
  logBytes: row(
    1 * MiB,
    'bytes',
    [16 * KiB, 64 * MiB],
    'MCPHUB_LOG_BYTES',
    'Log bytes that wait for a slow reader; then lines are dropped and counted.',
  ),
  // Stopping
  drainMs: row(25 * SECOND, 'ms', [100, 10 * MINUTE], 'MCPHUB_DRAIN_MS', 'Calls in progress may finish for this long.'),
  stopMs: row(30 * SECOND, 'ms', [200, 15 * MINUTE], 'MCPHUB_STOP_MS', 'Everything has ended by then.'),
  killMs: row(35 * SECOND, 'ms', [300, 20 * MINUTE], 'MCPHUB_KILL_MS', 'The supervisor kills what is left.'),
  balancerMs: row(
    5 * SECOND,
    'ms',
    [1, 1 * MINUTE],
    'MCPHUB_BALANCER_MS',
    'At a stop, connections are still accepted for this long when one address has asked /readyz three times or more ' +
      'over 2 s, the last time within 30 s; never at a terminal.',
  ),
  // Supervisor
  beatMs: row(
    3 * SECOND,
    'ms',
    [500, 1 * MINUTE],
    'MCPHUB_BEAT_MS',
    'A process without a heartbeat for this long is replaced if it used CPU (beatCpuMs) or is stopped.',
  ),
  beatCpuMs: row(
    1500,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_BEAT_CPU_MS',
    'CPU time since the last heartbeat that indicates a stall rather than lack of CPU.',
  ),
  probeMs: row(
    3 * SECOND,
    'ms',
    [500, 1 * MINUTE],
    'MCPHUB_PROBE_MS',
    'A probe without an answer for this long fails, a measured lack of CPU not counted; three in a row end the process.',
  ),
  busyProbeMs: row(
    2 * SECOND,
    'ms',
    [100, 1 * MINUTE],
    'MCPHUB_BUSY_PROBE_MS',
    'A process without a heartbeat counts as busy, not as stalled, while its loop advances and a probe is answered within this time.',
  ),
  heartbeatEndMs: row(
    15 * SECOND,
    'ms',
    [1 * SECOND, 10 * MINUTE],
    'MCPHUB_HEARTBEAT_END_MS',
    'A process without a heartbeat for this long is replaced even when it is busy. Suspension and a measured lack of CPU do not count.',
  ),
  restarts: row(
    5,
    'count',
    [1, 100],
    'MCPHUB_RESTARTS',
    'Restarts within a minute before the supervisor delays further ones.',
  ),
  guardBackoffMs: row(
    1 * SECOND,
    'ms',
    [50, 1 * MINUTE],
    'MCPHUB_GUARD_BACKOFF_MS',
    'First of these delays; doubles up to 30 s.',
  ),
} as const satisfies Record<string, LimitRow>;

export type LimitName = keyof typeof LIMITS;
/** A value for every limit. */
export type Limits = Readonly<Record<LimitName, number>>;

/** Limits that the supervisor keeps for its life: a change needs a start of the hub. */
export const HUB_LIMITS: ReadonlySet<LimitName> = new Set<LimitName>(['port', 'workers']);

export const LIMIT_NAMES = Object.keys(LIMITS) as readonly LimitName[];

interface FormerName {
  readonly name: string;
  readonly env: string;
}

/**
 * Former names of limits, which stay valid: in the file, in the environment, on the command line, and in messages
 * between processes of different versions. Where both names are given, the present one applies.
 */
export const FORMER_NAMES: Readonly<Partial<Record<LimitName, FormerName>>> = {
  workers: { name: 'hubs', env: 'MCPHUB_HUBS' },
};

/** Returns the value of a limit under its present or its former name. */
export function namedLimit<T>(values: Readonly<Record<string, T | undefined>>, name: LimitName): T | undefined {
  const former = FORMER_NAMES[name];
  return values[name] ?? (former && values[former.name]);
}

/**
 * Returns the values under their present names: former names of later sources then win over present ones of earlier.
 */
export function withPresentNames(
  values: Readonly<Record<string, number>> | undefined = {},
): Readonly<Record<string, number>> {
  const named = LIMIT_NAMES.flatMap((name) => {
    const value = namedLimit(values, name);
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(named);
}

/** Returns the values with their former names added, for processes of an earlier version. */
export function withFormerNames(values: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const named = LIMIT_NAMES.flatMap((name) => {
    const former = FORMER_NAMES[name];
    const value = values[name];
    return former === undefined || value === undefined ? [] : [[former.name, value] as const];
  });
  return { ...values, ...Object.fromEntries(named) };
}

/**
 * Returns the defaults with the given values on top. The result is frozen. Skips unknown names and values out of range,
 * which the loader has reported.
 */
export function limitsFrom(values: Readonly<Record<string, number>>): Limits {
  const limits = {} as Record<LimitName, number>;
  for (const name of LIMIT_NAMES) {
    const given = namedLimit(values, name);
    limits[name] = given !== undefined && isWithin(name, given) ? given : LIMITS[name].default;
  }
  return Object.freeze(limits);
}

/** Returns a plain copy of the values, of limits that may be accessors of a prototype. */
export function limitValues(limits: Limits): Readonly<Record<LimitName, number>> {
  return Object.fromEntries(LIMIT_NAMES.map((name) => [name, limits[name]])) as Record<LimitName, number>;
}

export function isWithin(name: LimitName, value: number): boolean {
  const { min, max } = LIMITS[name];
  return Number.isFinite(value) && value >= min && value <= max;
}

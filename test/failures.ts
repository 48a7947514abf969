/**
 * The catalogue of real failures that this hub must survive, a sentence each (source: reliability.md, section 2, where
 * each has its evidence). A test that proves one says so on the line above it, with the code without which it would be
 * red:
 * `// row A16 · guards src/resilience/breaker.ts`. `failures.test.ts` fails for a row of the current step that no test
 * proves.
 * Does not: say how. The test does.
 */
export interface Failure {
  readonly id: string;
  readonly sentence: string;
  /** The step of the build from which on a test must prove that it does no harm. */
  readonly step: number;
}

type Row = readonly [id: string, step: number, sentence: string];

const REMOTE_SERVERS: readonly Row[] = [
  ['A1', 3, 'A server accepts and never answers, and everybody’s list waits for it.'],
  ['A2', 3, 'A body that drips outlives the timeout.'],
  ['A3', 3, 'A timed-out request keeps its socket and the server’s work.'],
  ['A4', 3, 'A thousand calls queue on one hung server: late errors, and connections without number.'],
  ['A5', 3, 'A stalled server is not noticed while our own client reads slowly.'],
  ['A6', 3, 'A peer that vanished without a FIN hangs the call.'],
  ['A7', 3, 'A handshake that never ends is shared by all that wait for it.'],
  ['A8', 3, 'A name that is never resolved stalls unrelated hosts.'],
  ['A9', 3, 'A dropped session of a server leaves it dead for ever.'],
  ['A10', 6, 'A server that always says 401 or 429 is asked in a loop.'],
  ['A11', 3, 'A stream that a server closes at once is reopened every second for ever.'],
  ['A12', 3, 'Each reconnection keeps a generation of tools.'],
  ['A13', 3, 'Our own health questions and refreshes pile up sessions on a server.'],
  ['A14', 3, 'A passing outage leaves a server dead until a restart.'],
  ['A15', 3, 'One missed health question empties the list of tools.'],
  ['A16', 3, 'The breaker itself gets stuck.'],
  ['A17', 3, 'A changed list and its fetching feed each other.'],
  ['A18', 3, 'A kept connection that the server has just closed breaks a request, or doubles a call.'],
  ['A19', 3, 'Redirects loop, lead inside, or turn a POST into a GET.'],
  ['A20', 3, 'A proxy’s error page is passed on whole.'],
  ['A21', 3, 'An answer is late because cleaning up is waited for.'],
  ['A22', 3, 'Bodies of error answers leak sockets.'],
  ['A23', 3, 'An error does not say whose fault it is.'],
];

const CHILDREN: readonly Row[] = [
  ['B1', 3, 'A child blocks because nobody reads its stderr.'],
  ['B2', 3, 'A child stops reading, and writes to it never settle.'],
  ['B3', 3, 'A child is gone, but its grandchild holds the pipe and it counts as connected.'],
  ['B4', 3, 'Grandchildren of wrappers pile up.'],
  ['B5', 3, 'Children outlive a hub that was killed.'],
  ['B6', 3, 'A child that left its group survives the stop.'],
  ['B7', 3, 'A crash loop burns the machine.'],
  ['B8', 3, 'A bad command, or a pipe that closes, crashes the hub.'],
  ['B9', 3, 'Banners and garbage on stdout lose valid messages.'],
  ['B10', 3, 'A line without an end costs CPU and memory without bound.'],
  ['B11', 3, 'A huge valid line stalls the loop.'],
  ['B12', 3, 'A flood of notifications stalls the loop.'],
  ['B13', 3, 'A hundred servers start at once, and most time out.'],
  ['B14', 3, 'The start’s timeout kills an installation again and again.'],
  ['B15', 3, 'Installations of one package race for one cache.'],
  ['B16', 3, 'First calls at the same time start several children.'],
  ['B17', 3, 'A failed health question leaves a child behind.'],
  ['B18', 3, 'Installations that fail and are retried fill the disk.'],
  ['B19', 3, 'Zombies pile up when the hub is process 1.'],
  ['B20', 3, 'A child eats the machine’s CPU, and the hub starves.'],
];

const CLIENTS: readonly Row[] = [
  ['C1', 3, 'Abandoned sessions are never freed.'],
  ['C2', 3, 'A stream whose client vanished keeps its session for ever.'],
  ['C3', 3, 'A quiet session is reaped too early.'],
  ['C4', 3, 'A cap on streams leaks until its key is refused for ever.'],
  ['C5', 3, 'A new stream is refused while the old one is half open.'],
  ['C6', 3, 'A proxy in front cuts quiet streams or holds events back.'],
  ['C7', 3, 'An unknown session is answered in a way that leaves clients stuck.'],
  ['C8', 3, 'A reader that does not read fills the memory.'],
  ['C9', 3, 'A slow reader is taken for a gone one, or a gone one for a slow one.'],
  ['C10', 3, 'A client that leaves in the middle of a call crashes something.'],
  ['C11', 4, 'A dropped connection means the same in every version of the protocol.'],
  ['C12', 3, 'A cancel is lost, or reaches another’s call.'],
  ['C13', 3, 'Progress after the result kills a client.'],
  ['C14', 3, 'Progress does not keep a long call alive, or keeps it alive for ever.'],
  ['C15', 3, 'A second request with the same id leaves the first unanswered.'],
  ['C16', 3, 'One client gets another’s answer.'],
  ['C17', 3, 'Something grows with each request of a session.'],
  ['C18', 3, 'Requests that drip in hold connections.'],
  ['C19', 3, 'A hostile body blocks the loop.'],
  ['C20', 3, 'All clients reconnect at once after a restart.'],
  ['C21', 3, 'The memory for resuming streams has no bound.'],
];

const REDIS: readonly Row[] = [
  ['D1', 5, 'A frozen Redis hangs every request.'],
  ['D2', 5, 'A Redis that is down hangs commands.'],
  ['D3', 5, 'The client gives up for good after a timeout.'],
  ['D4', 5, 'A command never settles after a reconnection.'],
  ['D5', 5, 'A command that timed out is played again later.'],
  ['D6', 5, 'Connections leak.'],
  ['D7', 5, 'A slow tick is taken for an outage.'],
  ['D8', 5, 'Swallowed errors count as success.'],
  ['D9', 5, 'Redis is full, read-only, loading or wants a password.'],
  ['D10', 5, 'Everybody reconnects at once when Redis returns.'],
  ['D11', 5, 'What expired in one place lives on in another.'],
  ['D12', 5, 'A dead owner keeps its lock.'],
  ['D13', 5, 'A gap in the subscription loses a revocation.'],
  ['D14', 5, 'What is read from Redis is another version’s, or an attacker’s.'],
];

const DISK: readonly Row[] = [
  ['E1', 3, 'A file is read half written.'],
  ['E2', 3, 'A file that cannot be parsed becomes empty defaults, and these are saved.'],
  ['E3', 6, 'Edits at the same time lose one another.'],
  ['E4', 5, 'The database is silent, and a query pends for ever.'],
  ['E5', 5, 'A connection of the database is held across a call.'],
  ['E6', 5, 'A database that is down at the start is never found again.'],
  ['E7', 3, 'A slow statement stalls the loop.'],
  ['E8', 3, 'The disk is full.'],
  ['E9', 3, 'A process is killed within a transaction.'],
  ['E10', 5, 'Several instances migrate at once.'],
];

const PROCESSES: readonly Row[] = [
  ['F1', 3, 'Nobody reads the log.'],
  ['F2', 3, 'A regular expression runs for ever.'],
  ['F3', 3, 'A schema is a bomb to compile.'],
  ['F4', 3, 'Hashing passwords or keys blocks the loop.'],
  ['F5', 3, 'The heap fills until only the collector runs.'],
  ['F6', 3, 'Disconnections leave a loop that burns CPU.'],
  ['F7', 3, 'One exception ends everybody’s hub.'],
  ['F8', 3, 'Descriptors run out.'],
  ['F9', 3, 'SIGTERM has no effect.'],
  ['F10', 3, 'A watchdog kills what was only starved.'],
  ['F11', 3, 'Big JSON blocks the loop.'],
  ['F12', 3, 'The clock jumps.'],
  ['F13', 3, 'Listeners leak.'],
  ['F14', 3, 'A timer overflows.'],
];

const LIFE: readonly Row[] = [
  ['G1', 5, 'A session lives on one instance only.'],
  ['G2', 3, 'A rolling restart drops calls.'],
  ['G3', 3, 'A restart forgets the tools until all servers are back.'],
  ['G4', 5, 'Everybody’s cache expires at once.'],
  ['G5', 6, 'Refreshing a token races and burns it.'],
  ['G6', 6, 'Health is green while dead, or red while fine.'],
  ['G7', 3, 'What should heal makes it worse.'],
  ['G8', 3, 'The port is in use, a socket is stale, or a second hub starts.'],
  ['G9', 6, 'The audit’s queue stalls the calls.'],
  ['G10', 3, 'A reload drops calls or doubles servers.'],
  ['G11', 6, 'A flapping server is told a hundred times, or not at all.'],
];

export const FAILURES: readonly Failure[] = [REMOTE_SERVERS, CHILDREN, CLIENTS, REDIS, DISK, PROCESSES, LIFE].flatMap(
  (rows) => rows.map(([id, step, sentence]) => ({ id, step, sentence })),
);

/** The faults that `mcphub chaos` injects, in order, and what is guaranteed during each. Pure. */

export type Expected = 'result' | 'error';

export interface FaultKind {
  /** Name for `--only`. */
  readonly name: string;
  readonly says: string;
  /** The fault server that is added; undefined when the fault is in the hub itself. */
  readonly server: { readonly kind: 'stdio' | 'http'; readonly way: string } | undefined;
  /** What happens when that server is ready. */
  readonly act: 'none' | 'order' | 'stop-server' | 'stop-reading' | 'block-loop';
  /** Expected results of calls to the fault server; undefined when there are none. */
  readonly expected: Expected | undefined;
}

export const FAULTS: readonly FaultKind[] = [
  http('hung', 'a server accepts connections and never responds', 'error'),
  http('slow', 'a server takes 3 s per call', 'result'),
  http('dead', 'a server has exited and its port refuses connections', 'error'),
  http('garbage', 'a server sends responses that are not JSON', 'error'),
  http('huge', 'a server sends a response of 300 MiB', 'error'),
  stdio('crash', 'a server crashes during a call and at every following start', 'error'),
  stdio('deaf', 'a server stops reading its stdin', 'error'),
  stdio('flood', 'a server writes to stderr without pause', 'result'),
  {
    ...stdio('stopped', 'a server is stopped by SIGSTOP', 'error'),
    server: { kind: 'stdio', way: 'well' },
    act: 'stop-server',
  },
  {
    name: 'log',
    says: 'the log of the hub is no longer read',
    server: undefined,
    act: 'stop-reading',
    expected: undefined,
  },
  {
    name: 'loop',
    says: 'the event loop of a worker is blocked',
    server: undefined,
    act: 'block-loop',
    expected: undefined,
  },
];

function http(name: string, says: string, expected: Expected): FaultKind {
  return { name, says, server: { kind: 'http', way: name }, act: 'order', expected };
}

function stdio(name: string, says: string, expected: Expected): FaultKind {
  return { name, says, server: { kind: 'stdio', way: name }, act: 'none', expected };
}

/** One request of the load. `result` is true when the response was the normal one. */
export interface Sample {
  /** Time in ms since the fault began. */
  readonly atMs: number;
  readonly ms: number;
  readonly result: boolean;
  /** What was received instead of a result. */
  readonly words: string | undefined;
  /** True when the client timed out: the hub did not respond. */
  readonly unanswered: boolean;
}

export interface Figures {
  readonly sent: number;
  readonly results: number;
  readonly unanswered: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  /** First response that was not a result. */
  readonly words: string | undefined;
}

export interface Outcome {
  readonly name: string;
  readonly says: string;
  readonly health: Figures;
  readonly list: Figures;
  readonly echo: Figures;
  readonly broken: Figures | undefined;
  /** Longest time in ms without a successful /health response. */
  readonly outageMs: number;
  /** Time in ms until the hub was idle again; undefined when it was not. */
  readonly idleMs: number | undefined;
  readonly promisesBroken: readonly string[];
}

export function figuresOf(samples: readonly Sample[]): Figures {
  const ms = samples.map((one) => one.ms).sort((a, b) => a - b);
  const at = (share: number): number => Math.round(ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? 0);
  return {
    sent: samples.length,
    results: samples.filter(({ result }) => result).length,
    unanswered: samples.filter(({ unanswered }) => unanswered).length,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    worstMs: at(1),
    words: samples.find(({ words }) => words !== undefined)?.words,
  };
}

/** Returns the longest time in ms from the end of one successful response to the next, or to `endMs`. */
export function outageOf(samples: readonly Sample[], endMs: number): number {
  let goodAtMs = 0;
  let worstMs = 0;
  for (const { atMs, ms, result } of [...samples].sort((a, b) => a.atMs + a.ms - b.atMs - b.ms)) {
    if (!result) continue;
    worstMs = Math.max(worstMs, atMs + ms - goodAtMs);
    goodAtMs = atMs + ms;
  }
  return Math.round(Math.max(worstMs, endMs - goodAtMs));
}

/** Limit in ms for `/health`, whatever a server does. */
const HEALTH_MS = 1000;
/** Limit in ms for calls and lists of other servers. */
const OTHERS_MS = 2000;
/** The supervisor replaces a stalled worker within 8 s; the rest allows for slow machines. */
const OUTAGE_MS = 10_000;
/** Five seconds of silence, with a margin. */
const BROKEN_MS = 7000;

export function promisesBroken(trouble: FaultKind, seen: Omit<Outcome, 'promisesBroken' | 'name' | 'says'>): string[] {
  const broken: string[] = [];
  const promise = (holds: boolean, what: string): void => {
    if (!holds) broken.push(`${trouble.name}: ${what}`);
  };
  const named = [
    ['/health', seen.health, HEALTH_MS],
    ['tools/list', seen.list, OTHERS_MS],
    ['echo', seen.echo, OTHERS_MS],
  ] as const;
  if (trouble.act === 'block-loop') {
    promise(seen.outageMs <= OUTAGE_MS, `/health failed for ${seen.outageMs} ms; limit 8 s`);
    for (const [what, { unanswered }] of named) promise(unanswered === 0, `${unanswered} × ${what} got no response`);
  } else {
    for (const [what, { sent, results, worstMs, words }, mostMs] of named) {
      promise(results === sent, `${sent - results} of ${sent} × ${what} failed (${words})`);
      promise(worstMs <= mostMs, `${what} took ${worstMs} ms; limit ${mostMs} ms`);
    }
  }
  for (const [what, { results }] of named) promise(results > 0, `${what} never succeeded`);
  if (seen.broken && trouble.expected) {
    const { sent, results, worstMs } = seen.broken;
    const got = trouble.expected === 'result' ? results : sent - results;
    promise(
      sent > 0 && got === sent,
      `${sent - got} of ${sent} calls to the faulty server did not end with ${anA(trouble.expected)}`,
    );
    promise(worstMs <= BROKEN_MS, `a call to the faulty server took ${worstMs} ms; limit ${BROKEN_MS} ms`);
  }
  promise(seen.idleMs !== undefined, 'the sandbox did not become idle again');
  return broken;
}

function anA(word: Expected): string {
  return word === 'error' ? 'an error' : 'a result';
}

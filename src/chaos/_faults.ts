/**
 * The troubles that `mcphub chaos` makes, in the order in which it makes them, and what is promised while each lasts. Pure.
 */

export type Expected = 'result' | 'error';

export interface FaultKind {
  /** For `--only`. */
  readonly name: string;
  readonly says: string;
  /** The server that is put beside the others; undefined = the trouble is the hub's own. */
  readonly server: { readonly kind: 'stdio' | 'http'; readonly way: string } | undefined;
  /** What is done once that server is ready. */
  readonly act: 'none' | 'order' | 'stop-server' | 'stop-reading' | 'block-loop';
  /** What calls to its own server get; undefined = there are none. */
  readonly expected: Expected | undefined;
}

export const FAULTS: readonly FaultKind[] = [
  http('hung', 'a server accepts and never answers', 'error'),
  http('slow', 'a server takes 3 s for each call', 'result'),
  http('dead', 'a server is gone, its port refuses', 'error'),
  http('garbage', 'a server answers what is no JSON', 'error'),
  http('huge', 'a server answers 300 MiB', 'error'),
  stdio('crash', 'a server crashes in a call, and at each start after it', 'error'),
  stdio('deaf', 'a server stops reading its stdin', 'error'),
  stdio('flood', 'a server floods its stderr', 'result'),
  {
    ...stdio('stopped', 'a server is stopped by SIGSTOP', 'error'),
    server: { kind: 'stdio', way: 'well' },
    act: 'stop-server',
  },
  {
    name: 'log',
    says: 'nobody reads the hub’s log any more',
    server: undefined,
    act: 'stop-reading',
    expected: undefined,
  },
  { name: 'loop', says: 'a hub’s event loop stands still', server: undefined, act: 'block-loop', expected: undefined },
];

function http(name: string, says: string, expected: Expected): FaultKind {
  return { name, says, server: { kind: 'http', way: name }, act: 'order', expected };
}

function stdio(name: string, says: string, expected: Expected): FaultKind {
  return { name, says, server: { kind: 'stdio', way: name }, act: 'none', expected };
}

/** One request of the load. `result` = it was answered as when all is well. */
export interface Sample {
  /** Since the trouble began, ms. */
  readonly atMs: number;
  readonly ms: number;
  readonly result: boolean;
  /** What came instead of a result. */
  readonly words: string | undefined;
  /** It ended by the client's own patience: the hub did not answer. */
  readonly unanswered: boolean;
}

export interface Figures {
  readonly sent: number;
  readonly results: number;
  readonly unanswered: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  /** First answer that was no result. */
  readonly words: string | undefined;
}

export interface Outcome {
  readonly name: string;
  readonly says: string;
  readonly health: Figures;
  readonly list: Figures;
  readonly echo: Figures;
  readonly broken: Figures | undefined;
  /** Longest time without a good answer of /health, ms. */
  readonly outageMs: number;
  /** ms until nothing was left of it; undefined = something is. */
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

/** From the end of one good answer to the next, ms; also up to `endMs`. */
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

/** `/health` is there within this, whatever a server does. Source: the incident's acceptance. */
const HEALTH_MS = 1000;
/** Others' calls and lists. */
const OTHERS_MS = 2000;
/** The supervisor replaces a stalled hub within 8 s; the rest is for a slow machine. */
const OUTAGE_MS = 10_000;
/** Five seconds of silence, and what is done around them. */
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
    promise(seen.outageMs <= OUTAGE_MS, `/health was away for ${seen.outageMs} ms; it may be for 8 s`);
    for (const [what, { unanswered }] of named)
      promise(unanswered === 0, `${unanswered} × ${what} never got an answer`);
  } else {
    for (const [what, { sent, results, worstMs, words }, mostMs] of named) {
      promise(results === sent, `${sent - results} of ${sent} × ${what} failed (${words})`);
      promise(worstMs <= mostMs, `${what} took ${worstMs} ms; it may take ${mostMs} ms`);
    }
  }
  for (const [what, { results }] of named) promise(results > 0, `${what} was never answered`);
  if (seen.broken && trouble.expected) {
    const { sent, results, worstMs } = seen.broken;
    const got = trouble.expected === 'result' ? results : sent - results;
    promise(
      sent > 0 && got === sent,
      `${sent - got} of ${sent} calls to the broken server did not end with ${anA(trouble.expected)}`,
    );
    promise(worstMs <= BROKEN_MS, `a call to the broken server took ${worstMs} ms; it may take ${BROKEN_MS} ms`);
  }
  promise(seen.idleMs !== undefined, 'the sandbox did not come back to idle');
  return broken;
}

function anA(word: Expected): string {
  return word === 'error' ? 'an error' : 'a result';
}

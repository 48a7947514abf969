/**
 * What clients have recorded, and the judge of it: P3 (one answer each, in time), P17 (nothing done twice), P18
 * (nothing of another user).
 * Does not: send anything (`recorder.ts`).
 */
export interface Recorded {
  readonly user: number;
  /** What only this call's answer may hold; empty for bytes that answer nothing. */
  readonly canary: string;
  readonly tool: string;
  readonly sentMs: number;
  readonly endMs: number;
  /** The call's deadline, from when it was sent. */
  readonly limitMs: number;
  /** Its connection is spoilt on purpose, or the client has gone away: it may have no answer, and a late one. */
  readonly isExcused: boolean;
  /** The network behind the hub may spoil the words of its answer, though not so that they become another call's. */
  readonly mayBeSpoilt: boolean;
  /** A result that is not its own, as it came. */
  readonly strange?: string;
  /** Replies in what came. */
  readonly answers: number;
  /**
   * `cut` = the connection ended; `none` = an answer without a reply to this id; `unasked` = bytes that answer nothing.
   */
  readonly outcome: 'result' | 'error' | 'cut' | 'none' | 'unasked';
  readonly isOwn: boolean;
  /** Canaries of other calls in what came. */
  readonly foreign: number;
  /** Messages behind the reply. */
  readonly afterAnswer: number;
}

/** By what it says of itself one that was spoilt on its way is known, and not taken for another call's. */
export function canaryOf(user: number, serial: number): string {
  return `canary-${user}-${serial}-${(user * 31 + serial * 17) % 97}-`;
}

/** Whole ones in a text. */
export function canariesIn(text: string): string[] {
  return [...text.matchAll(/canary-(\d+)-(\d+)-\d+-/g)].flatMap(([found, user, serial]) =>
    found === canaryOf(Number(user), Number(serial)) ? [found] : [],
  );
}

export interface Verdict {
  readonly requests: number;
  /** In words, the first hundred. */
  readonly wrong: readonly string[];
  readonly counts: Readonly<
    Record<'unanswered' | 'twiceAnswered' | 'foreign' | 'notOwn' | 'after' | 'twiceDone', number>
  >;
  /** Most ms by which an answer was later than its deadline; negative = none was late. */
  readonly latestMs: number;
}

/** Times a call of this canary was carried out by a server. */
export type Executions = ReadonlyMap<string, number>;

const SHOWN = 100;

export function judge(history: readonly Recorded[], executions: Executions): Verdict {
  const counts = { unanswered: 0, twiceAnswered: 0, foreign: 0, notOwn: 0, after: 0, twiceDone: 0 };
  const wrong: string[] = [];
  let latestMs = -Infinity;
  const blame = (what: keyof typeof counts, one: string): void => {
    counts[what] += 1;
    if (wrong.length < SHOWN) wrong.push(`${what}: ${one}`);
  };
  for (const one of history) {
    const text = JSON.stringify(one);
    if (one.foreign > 0) blame('foreign', text);
    if (one.outcome === 'unasked' || one.answers > 1) blame('twiceAnswered', text);
    if (one.outcome === 'unasked') continue;
    if (one.afterAnswer > 0) blame('after', text);
    // A connection that is spoilt may spoil the words too.
    if (one.isExcused) continue;
    if (one.outcome === 'result' && !one.isOwn && !one.mayBeSpoilt) blame('notOwn', text);
    if (one.outcome === 'cut' || one.outcome === 'none') blame('unanswered', text);
    latestMs = Math.max(latestMs, one.endMs - one.sentMs - one.limitMs);
  }
  for (const [canary, times] of executions)
    if (times > 1 && canariesIn(canary).length > 0) blame('twiceDone', `${canary} ${times} times`);
  return { requests: history.filter(({ outcome }) => outcome !== 'unasked').length, wrong, counts, latestMs };
}

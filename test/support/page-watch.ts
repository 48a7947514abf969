/**
 * Looks at pages of a hub all the time, each look on a connection of its own, and knows how long the worst look took.
 * Promises: a look that fails or brings no 200 counts from its beginning until the next good one of the same page;
 * `stop` leaves no socket.
 */
import { type ClientRequest, get } from 'node:http';
import { delay } from './hub.ts';

interface Look {
  readonly atMs: number;
  readonly ms: number;
  readonly ok: boolean;
}

/** Longer than any gate: a look without an answer is given up and counts as bad. */
const GIVE_UP_MS = 30_000;

export class PageWatch implements AsyncDisposable {
  readonly #url: string;
  readonly #looks = new Map<string, Look[]>();
  readonly #open = new Set<ClientRequest>();
  readonly #loops: Promise<void>[];
  #stopped = false;

  constructor(url: string, paths: readonly string[], everyMs: number) {
    this.#url = url;
    this.#loops = paths.map((path) => this.#watch(path, everyMs));
  }

  /** The longest time for which a page was not there since `sinceMs` (performance.now()), ms, by path. */
  worst(sinceMs: number): Record<string, number> {
    const found = [...this.#looks].map(([path, looks]) => [path, Math.round(worstOf(looks, sinceMs))]);
    return Object.fromEntries(found) as Record<string, number>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    for (const asked of this.#open) asked.destroy();
    await Promise.all(this.#loops);
  }

  async #watch(path: string, everyMs: number): Promise<void> {
    const looks: Look[] = [];
    this.#looks.set(path, looks);
    while (!this.#stopped) {
      looks.push(await this.#look(path));
      await delay(everyMs);
    }
  }

  #look(path: string): Promise<Look> {
    const atMs = performance.now();
    return new Promise((done) => {
      let ok = false;
      const asked = get(`${this.#url}${path}`, { agent: false }, (answer) => {
        answer.on('end', () => {
          ok = answer.statusCode === 200;
        });
        answer.on('error', () => {});
        answer.resume();
      });
      this.#open.add(asked);
      const limit = setTimeout(() => asked.destroy(), GIVE_UP_MS);
      asked.on('error', () => {});
      asked.on('close', () => {
        clearTimeout(limit);
        this.#open.delete(asked);
        done({ atMs, ms: performance.now() - atMs, ok });
      });
    });
  }
}

function worstOf(looks: readonly Look[], sinceMs: number): number {
  let worst = 0;
  let badSinceMs: number | undefined;
  for (const { atMs, ms, ok } of looks) {
    if (atMs < sinceMs) continue;
    badSinceMs ??= atMs;
    worst = Math.max(worst, atMs + ms - badSinceMs);
    if (ok) badSinceMs = undefined;
  }
  return worst;
}

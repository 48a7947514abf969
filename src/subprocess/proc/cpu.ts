/**
 * CPU time of a child's process group: the sign of life of a server that computes without output.
 * Guarantees: `cpuMs` returns the last reading at once and starts a new one in the background when it is older than 250
 * ms; while it is called, readings are at most about a second old; the value never decreases; undefined without /proc.
 */
import type { Runtime } from '../../runtime/runtime.ts';
import { childrenOf, processIds, readRows } from './processes.ts';

const FRESH_MS = 250;
const FOLLOW_MS = 1000;
/** Readings continue for this long after the last call, so that checks 2.5 s apart compare new values. */
const ASKED_MS = 6000;
/** Interval at which all of /proc is read to find new members; in between only the known ones are read. */
const CENSUS_MS = 5000;
/**
 * A child that starts up starts others (npx, sh): in its first seconds each reading looks for children of known
 * members.
 */
const YOUNG_MS = 10_000;
const READ_MS = 2000;

export class GroupCpu implements Disposable {
  readonly #runtime: Runtime;
  readonly #group: number;
  readonly #owner: string;
  readonly #bornMs: number;
  #members: readonly number[]; // bounded by: processes of one group
  #censusMs: number;
  #readMs = Number.NEGATIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #cpuMs: number | undefined;
  #reading = false;
  #next: Disposable | undefined;
  #over = false;

  constructor(runtime: Runtime, group: number, owner: string) {
    this.#runtime = runtime;
    this.#group = group;
    this.#owner = owner;
    this.#members = [group];
    this.#bornMs = this.#censusMs = runtime.clock.nowMs();
    this.#read();
  }

  cpuMs(): number | undefined {
    const nowMs = this.#runtime.clock.nowMs();
    this.#askedMs = nowMs;
    if (nowMs - this.#readMs >= FRESH_MS) this.#read();
    return this.#cpuMs;
  }

  /** When the value of `cpuMs` was read, monotonic ms; undefined when never. */
  get readMs(): number | undefined {
    return this.#cpuMs === undefined ? undefined : this.#readMs;
  }

  #read(): void {
    if (this.#reading || this.#over || process.platform !== 'linux') return;
    this.#reading = true;
    this.#runtime.scope.run(`cpu of ${this.#owner}`, async () => {
      using deadline = this.#runtime.deadline(READ_MS);
      try {
        await this.#runtime.waits.for(this.#take(), { label: 'background', owner: this.#owner, deadline });
      } catch {
        // The value stays old; the next check tries again.
      } finally {
        this.#reading = false;
        this.#follow();
      }
    });
  }

  async #take(): Promise<void> {
    const nowMs = this.#runtime.clock.nowMs();
    const census = nowMs - this.#censusMs >= CENSUS_MS;
    const pids = census ? await processIds() : await this.#known(nowMs);
    const rows = (await readRows(pids)).filter((row) => row.group === this.#group);
    if (this.#over) return;
    if (census) this.#censusMs = nowMs;
    this.#members = rows.map((row) => row.pid);
    let sumMs = 0;
    for (const row of rows) sumMs += row.cpuMs;
    this.#cpuMs = Math.max(this.#cpuMs ?? 0, sumMs);
    this.#readMs = nowMs;
  }

  async #known(nowMs: number): Promise<readonly number[]> {
    if (nowMs - this.#bornMs >= YOUNG_MS) return this.#members;
    return [...new Set([...this.#members, ...(await childrenOf(this.#members))])];
  }

  #follow(): void {
    if (this.#over || this.#next !== undefined) return;
    if (this.#runtime.clock.nowMs() - this.#askedMs > ASKED_MS) return;
    this.#next = this.#runtime.timers.after(FOLLOW_MS, () => {
      this.#next = undefined;
      this.#read();
    });
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#next?.[Symbol.dispose]();
    this.#next = undefined;
  }
}

/**
 * A child's turn to start: at most so many start at once, in the order in which they came.
 * Promises: given back when the start is over, whatever came of it; a child whose package is being installed lets others go first,
 * and stands in the row again when it is installed.
 */
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { LinkPhase } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal } from '../kernel/outcome.ts';
import type { Bulkhead } from '../resilience/bulkhead.ts';

/** Longest time in the row. */
const TURN_MS = 600_000;

export class StartTurn implements Disposable {
  readonly #gate: Bulkhead;
  #waiting: Deadline | undefined;
  #permit: Disposable | undefined;
  #isInstalling = false;
  #comeAgain: (() => Promise<void>) | undefined;
  #over = false;

  constructor(gate: Bulkhead) {
    this.#gate = gate;
  }

  /** Settles when it is this one's turn. Rejects with HubError `server-starting` when it never is, or when the turn was given up. */
  async come(kernel: Kernel, owner: string): Promise<void> {
    this.#comeAgain = () => this.come(kernel, owner);
    using deadline = kernel.deadline(TURN_MS);
    this.#waiting = deadline;
    const permit = await this.#gate.enter(deadline, owner);
    this.#waiting = undefined;
    if (isRefusal(permit))
      throw new HubError('server-starting', { message: `${owner} did not get its turn to start.` });
    if (this.#over) permit[Symbol.dispose]();
    else this.#permit = permit;
  }

  /** An install takes minutes and has a row of its own; the promise settles when the start that follows has its turn. */
  step(phase: LinkPhase): Promise<void> | undefined {
    if (phase === 'install') {
      this.#isInstalling = true;
      this.#permit?.[Symbol.dispose]();
      return undefined;
    }
    if (!this.#isInstalling || this.#over) return undefined;
    this.#isInstalling = false;
    return this.#comeAgain?.();
  }

  /** Leaves the row, or gives the turn back. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#waiting?.end('stopped');
    this.#permit?.[Symbol.dispose]();
  }
}

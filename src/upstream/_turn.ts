/**
 * A child's turn to start: at most so many start at once, in the order in which they came.
 * Promises: given back when the start is over, whatever came of it; a child whose package is being installed lets others go first.
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
  #installing = false;
  #over = false;

  constructor(gate: Bulkhead) {
    this.#gate = gate;
  }

  /** Settles when it is this one's turn. Rejects with HubError `server-starting` when it never is, or when the turn was given up. */
  async come(kernel: Kernel, owner: string): Promise<void> {
    using deadline = kernel.deadline(TURN_MS);
    this.#waiting = deadline;
    const permit = await this.#gate.enter(deadline, owner);
    this.#waiting = undefined;
    if (isRefusal(permit))
      throw new HubError('server-starting', { message: `${owner} did not get its turn to start.` });
    if (this.#over) permit[Symbol.dispose]();
    else this.#permit = permit;
  }

  /** An install takes minutes and has a row of its own; what comes after it takes a place if there is one. */
  step(phase: LinkPhase): void {
    if (phase === 'install') {
      this.#installing = true;
      this.#permit?.[Symbol.dispose]();
    } else if (this.#installing && !this.#over) {
      this.#installing = false;
      this.#permit = this.#gate.tryEnter();
    }
  }

  /** Leaves the row, or gives the turn back. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#waiting?.end('stopped');
    this.#permit?.[Symbol.dispose]();
  }
}

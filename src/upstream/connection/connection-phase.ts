/** The phase of an opening connection, and who follows it. */
import type { LinkPhase } from '../../model/events.ts';

/** Receives the phases of an opening. A phase begins when the promise that `step` returns has settled. */
export interface PhaseListener {
  step(phase: LinkPhase): Promise<void> | undefined;
}

export class ConnectionPhase {
  #current: LinkPhase = 'connect';
  #listener: PhaseListener | undefined;

  get current(): LinkPhase {
    return this.#current;
  }

  /** Reports phases to this listener until the returned handle is disposed. */
  follow(listener: PhaseListener | undefined): Disposable {
    this.#listener = listener;
    return {
      [Symbol.dispose]: () => {
        this.#listener = undefined;
      },
    };
  }

  /** Enters a phase. If it returns a promise, wait for it before you continue. */
  enter(phase: LinkPhase): Promise<void> | undefined {
    this.#current = phase;
    return this.#listener?.step(phase);
  }
}

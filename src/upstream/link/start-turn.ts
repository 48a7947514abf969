/**
 * A child's turn to start: at most `starting` children start at the same time, in order of arrival.
 * Guarantees: the permit is released when the handshake or the start has ended, when the child has used no CPU for
 * `IDLE_MS`, and after `LONGEST_MS` at the latest, so that a child that hangs delays no other; an install holds no
 * permit.
 */

import type { LinkPhase } from '../../model/events.ts';
import { isRefusal } from '../../model/outcome.ts';
import type { Bulkhead } from '../../resilience/bulkhead.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { turnFault } from '../../subprocess/prepare/prepare.ts';
import type { Transport } from '../transport/transport.ts';
import type { LinkParts } from './link-parts.ts';

/** Longest time in the queue, ms. */
const TURN_MS = 600_000;
/** A little more than the age at which `subprocess/proc/cpu.ts` reads CPU time again: each check may see a new one. */
const LOOK_MS = 260;
/** A child that used less than this in `IDLE_MS` is not loading any more, but waiting. */
const CPU_SIGN_MS = 20;
const IDLE_MS = 700;
/** Used where CPU time is not available. */
const UNKNOWN_MS = 3000;
/** A child that keeps using CPU gives up its turn after this time, ms. */
const LONGEST_MS = 10_000;

export interface StartTurnParts {
  readonly runtime: Runtime;
  /** Undefined when no child is started and there is nothing to wait for. */
  readonly gate: Bulkhead | undefined;
  /** The owner that takes turns with others: a server, or the session connections of one key to it. */
  readonly owner: string;
  /** Called with each phase of the start. */
  readonly entered: (phase: LinkPhase) => void;
  /** The child's transport. */
  readonly transport: Pick<Transport, 'cpuMs' | 'cpuReadMs'>;
}

export class StartTurn implements Disposable {
  readonly #parts: StartTurnParts;
  #waiting: Deadline | undefined;
  #permit: Disposable | undefined;
  #watch: Disposable | undefined;
  #over = false;

  constructor(parts: StartTurnParts) {
    this.#parts = parts;
  }

  /**
   * Enters a phase. Returns undefined to go on, or a promise that settles when the child may start; it rejects with
   * `server-starting` when it may not.
   */
  step(phase: LinkPhase): Promise<void> | undefined {
    const { gate, entered } = this.#parts;
    if (phase === 'start' && gate && !this.#over && !this.#permit) return this.#come(gate);
    if (phase === 'install' || phase === 'list') this.#give();
    entered(phase);
    return undefined;
  }

  /** Leaves the queue, or releases the permit. */
  [Symbol.dispose](): void {
    this.#over = true;
    this.#waiting?.end('stopped');
    this.#give();
  }

  #come(gate: Bulkhead): Promise<void> | undefined {
    const permit = gate.tryEnter(this.#parts.owner);
    if (!permit) return this.#queue(gate);
    this.#begin(permit);
    return undefined;
  }

  async #queue(gate: Bulkhead): Promise<void> {
    const { runtime, owner, entered } = this.#parts;
    entered('queue');
    using deadline = runtime.deadline(TURN_MS);
    this.#waiting = deadline;
    const permit = await gate.enter(deadline, owner);
    this.#waiting = undefined;
    if (isRefusal(permit)) throw turnFault(owner);
    if (this.#over) permit[Symbol.dispose]();
    else this.#begin(permit);
  }

  #begin(permit: Disposable): void {
    const { runtime, entered } = this.#parts;
    this.#permit = permit;
    entered('start');
    const sinceMs = runtime.clock.nowMs();
    const idleMs = this.#idleTime();
    this.#watch = runtime.timers.every(LOOK_MS, () => {
      const tookMs = runtime.clock.nowMs() - sinceMs;
      const idle = idleMs();
      if (idle === undefined ? tookMs >= UNKNOWN_MS : idle >= IDLE_MS || tookMs >= LONGEST_MS) this.#give();
    });
  }

  /**
   * Returns a function that tells for how long the child has used no CPU, ms, from values that were read; they may be
   * late on a busy machine.
   */
  #idleTime(): () => number | undefined {
    const { transport } = this.#parts;
    let usedMs = 0;
    let grownMs: number | undefined;
    return () => {
      const now = transport.cpuMs();
      const readMs = transport.cpuReadMs();
      if (now === undefined || readMs === undefined) return undefined;
      if (grownMs === undefined || now - usedMs >= CPU_SIGN_MS) {
        usedMs = now;
        grownMs = readMs;
      }
      return readMs - grownMs;
    };
  }

  #give(): void {
    this.#watch?.[Symbol.dispose]();
    this.#permit?.[Symbol.dispose]();
    this.#watch = this.#permit = undefined;
  }
}

/** Begins the start of a link; `entered` is called with its phases. Only children wait at the gate. */
export function startTurn(
  {
    runtime,
    kind,
    spec,
    startGate,
    startOwner,
  }: Pick<LinkParts, 'runtime' | 'kind' | 'spec' | 'startGate' | 'startOwner'>,
  transport: StartTurnParts['transport'],
  entered: (phase: LinkPhase) => void,
): StartTurn {
  const server = spec.slug;
  return new StartTurn({
    runtime,
    transport,
    owner: startOwner ?? server,
    gate: kind === 'local' ? startGate : undefined,
    entered(phase) {
      entered(phase);
      runtime.bus.publish({ type: 'server-phase-entered', server, phase });
    },
  });
}

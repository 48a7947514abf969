/**
 * Which opening the lanes of one server try first. A server that speaks both eras is met in the older way on its shared link (ADR 0015), but a
 * lane has one user, whose era is known: who speaks 2026-07-28 is better off with a server that does too.
 * Promises: the newer opening is tried on the first connection of a lane only, and once it was refused, or came to nothing, on no lane for a day.
 * Does not: try it on children: some end when they are asked anything before `initialize`.
 */
import type { Kernel } from '../kernel/kernel.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { VERSION_2026 } from '../protocol/era-2026/versions.ts';
import { isLocal } from './_endings.ts';
import type { Talk } from './talk.ts';

const VERDICT_MS = 24 * 60 * 60 * 1000;

/** Of one lane. */
export interface LaneOpening {
  /** What is to be tried first, as the version that was spoken before. */
  before(): string | undefined;
  /** The lane is ready. */
  met(version: string | undefined): void;
}

export class LaneOpenings {
  readonly #clock: Kernel['clock'];
  readonly #isRemote: boolean;
  #olderUntilMs = 0;

  constructor(clock: Kernel['clock'], spec: ServerSpec) {
    this.#clock = clock;
    this.#isRemote = !isLocal(spec);
  }

  /** `known` = what is spoken on the shared link. */
  of({ isStateless = false }: Pick<Talk, 'isStateless'>, known: () => string | undefined): LaneOpening {
    let hopes = isStateless && this.#isRemote;
    return {
      before: () => {
        const isHope = hopes && this.#clock.nowMs() >= this.#olderUntilMs;
        hopes = false;
        return isHope ? VERSION_2026 : known();
      },
      met: (version) => {
        if (isStateless && version !== VERSION_2026) this.#olderUntilMs = this.#clock.nowMs() + VERDICT_MS;
      },
    };
  }
}

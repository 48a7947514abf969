/**
 * Which opening the lanes of one server try first. A server that speaks both eras is met in the older way on its shared link (ADR 0015), but a
 * lane has one user, whose era is known: who speaks 2026-07-28 is better off with a server that does too.
 * Promises: the newer opening is tried on the first connection of a lane only, and once it was refused, or came to nothing, on no lane for a day.
 * Does not: try it on children: some end when they are asked anything before `initialize`.
 */

import type { ServerSpec } from '../../model/snapshot.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { isLocal } from '../call-endings.ts';
import type { ClientContext } from '../client-context.ts';

const VERDICT_MS = 24 * 60 * 60 * 1000;

/** Of one lane. */
export interface SessionConnectionOpening {
  /** What is to be tried first, as the version that was spoken before. */
  before(): string | undefined;
  /** The lane is ready. */
  met(version: string | undefined): void;
}

export class SessionConnectionOpenings {
  readonly #clock: Runtime['clock'];
  readonly #isRemote: boolean;
  #olderUntilMs = 0;

  constructor(clock: Runtime['clock'], spec: ServerSpec) {
    this.#clock = clock;
    this.#isRemote = !isLocal(spec);
  }

  /** `known` = what is spoken on the shared link. */
  of(
    { isStateless = false }: Pick<ClientContext, 'isStateless'>,
    known: () => string | undefined,
  ): SessionConnectionOpening {
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

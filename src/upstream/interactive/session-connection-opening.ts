/**
 * Chooses the opening that session connections of one server try first. A server of both eras uses the older one on its
 * shared link (ADR 0015), but a session connection has one user, whose client may use 2026-07-28. Guarantees: only its
 * first connection tries the newer opening; after a refusal or failure none does for a day. Children never get it: some
 * exit at anything before `initialize`.
 */

import type { ServerSpec } from '../../model/snapshot.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { isLocal } from '../call-endings.ts';
import type { ClientContext } from '../client-context.ts';

const REMEMBERED_MS = 24 * 60 * 60 * 1000;

/** For one session connection. */
export interface SessionConnectionOpening {
  /** Returns what to try first, as the version of an earlier connection. */
  before(): string | undefined;
  /** Records that the session connection is ready. */
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

  /** `known`: the version of the shared link. */
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
        if (isStateless && version !== VERSION_2026) this.#olderUntilMs = this.#clock.nowMs() + REMEMBERED_MS;
      },
    };
  }
}

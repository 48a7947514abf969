/**
 * The session of one HTTP connection, and those that killed processes have left with its server.
 * Guarantees: a session that the server has given is written down until the server has ended it; nothing is written down or read for a connection of one client
 * session, for such a connection has no other process's session to end.
 */
import type { Deadline } from '../../kernel/deadline.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { LeftSession, SessionMemory } from '../session-memory.ts';
import type { SessionHold } from '../transport.ts';
import { endSession } from './_http-session.ts';
import type { Wire } from './_http-wire.ts';

export interface HeldSessionHost {
  readonly kernel: Kernel;
  readonly server: string;
  readonly abortReason: Error;
  readonly limits: { readonly handshakeMs: number };
}

/** Where the sessions of a shared connection are remembered. */
export interface RememberedAs {
  readonly memory: SessionMemory;
  readonly target: string;
}

export class HeldSession implements SessionHold {
  readonly #host: HeldSessionHost;
  readonly #remembered: RememberedAs | undefined;
  readonly #wire: () => Wire | undefined;
  #file: string | undefined;
  /** Undefined = there is none. */
  id: string | undefined;

  constructor(host: HeldSessionHost, remembered: RememberedAs | undefined, wire: () => Wire | undefined) {
    this.#host = host;
    this.#remembered = remembered;
    this.#wire = wire;
  }

  get isOpen(): boolean {
    return this.id !== undefined;
  }

  /** The server has given a session; `version` = what is spoken in it, as far as it is known. */
  given(id: string, version: string | undefined): void {
    this.id = id;
    const { memory, target } = this.#remembered ?? {};
    if (memory && target !== undefined) this.#file = memory.opened(target, id, version);
  }

  /** It is not used any more. It stays written down: the server may have it all the same. */
  forget(): void {
    this.id = undefined;
    if (this.#file !== undefined) this.#remembered?.memory.released(this.#file);
    this.#file = undefined;
  }

  /** DELETEs it. Never rejects; ends by the deadline. */
  async close(deadline: Deadline): Promise<void> {
    const [wire, file] = [this.#wire(), this.#file];
    if (!wire || this.id === undefined) return;
    const isOver = await endSession({ host: this.#host, ...wire, deadline });
    this.forget();
    if (isOver && file !== undefined) await this.#forgotten(file, deadline);
  }

  async left(deadline: Deadline): Promise<readonly LeftSession[]> {
    const { memory, target } = this.#remembered ?? {};
    return memory && target !== undefined ? memory.left(target, deadline) : [];
  }

  async end(left: readonly LeftSession[], deadline: Deadline): Promise<boolean> {
    const wire = this.#wire();
    if (!wire) return false;
    const ends = left.map(async (session) => {
      const isOver = await endSession({ host: this.#host, ...wire, deadline, session });
      if (isOver) await this.#forgotten(session.file, deadline);
      return isOver;
    });
    return (await Promise.all(ends)).includes(true);
  }

  /** A session that was given after nobody waited for it any more; some servers give the same one each time, which may be in use meanwhile. */
  async endLate(id: string, deadline: Deadline): Promise<void> {
    const { memory, target } = this.#remembered ?? {};
    if (memory && target !== undefined && (await memory.isInUse(target, id, deadline))) return;
    const wire = this.#wire();
    if (wire) await endSession({ host: this.#host, ...wire, deadline, session: { id, version: undefined } });
  }

  async #forgotten(file: string, deadline: Deadline): Promise<void> {
    const gone = this.#remembered?.memory.ended(file) ?? Promise.resolve();
    const { kernel, server: owner } = this.#host;
    await kernel.waits.for(gone, { label: 'upstream-stop', owner, deadline }).catch(() => {});
  }
}

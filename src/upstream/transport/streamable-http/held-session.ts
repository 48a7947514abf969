/**
 * The session of one HTTP connection, and the sessions that earlier processes left at its server.
 * Guarantees: a session is recorded on disk until the server has ended it, with an upper bound of the request ids used
 * in it; nothing is recorded or read for a connection of one client session.
 */

import type { InitializeResult } from '../../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { LeftSession, SessionMemory } from '../../single-session/session-memory.ts';
import { RESERVED_IDS, type SessionRecord } from '../../single-session/session-record.ts';
import type { Wire } from '../http/wire.ts';
import type { SessionHold } from '../transport.ts';
import { endSession } from './session.ts';

export interface HeldSessionHost {
  readonly runtime: Runtime;
  readonly server: string;
  readonly abortReason: Error;
  readonly limits: { readonly handshakeMs: number };
}

/** Where the sessions of a shared connection are recorded. */
export interface RememberedAs {
  readonly memory: SessionMemory;
  readonly target: string;
}

/** More ids are reserved when only this many are left, so that the bound is on disk before it is reached. */
const SPARE_IDS = 4096;

export class HeldSession implements SessionHold {
  readonly #host: HeldSessionHost;
  readonly #remembered: RememberedAs | undefined;
  readonly #wire: () => Wire | undefined;
  #file: string | undefined;
  #record: SessionRecord | undefined;
  /** Undefined when there is none. */
  id: string | undefined;

  constructor(host: HeldSessionHost, remembered: RememberedAs | undefined, wire: () => Wire | undefined) {
    this.#host = host;
    this.#remembered = remembered;
    this.#wire = wire;
  }

  get isOpen(): boolean {
    return this.id !== undefined;
  }

  /** Records a session from the server; `version`: its protocol version, if it is known. */
  given(id: string, version: string | undefined): void {
    this.id = id;
    const { memory, target } = this.#remembered ?? {};
    if (!memory || target === undefined) return;
    this.#record = { id, version, idsBelow: RESERVED_IDS, hello: undefined };
    this.#file = memory.opened(target, this.#record);
  }

  known(hello: InitializeResult): void {
    this.#changed({ version: hello.version, hello });
  }

  /** Records that a request with this id is about to be sent. */
  sends(id: number): void {
    const { idsBelow = Number.POSITIVE_INFINITY } = this.#record ?? {};
    if (id >= idsBelow - SPARE_IDS) this.#changed({ idsBelow: Math.max(id, idsBelow) + RESERVED_IDS });
  }

  #changed(news: Partial<SessionRecord>): void {
    if (!this.#record || this.#file === undefined) return;
    this.#record = { ...this.#record, ...news };
    this.#remembered?.memory.changed(this.#file, this.#record);
  }

  async take(session: LeftSession, deadline: Deadline): Promise<number | undefined> {
    const { memory, target } = this.#remembered ?? {};
    const { file: _, ...before } = session;
    const record = { ...before, idsBelow: before.idsBelow + RESERVED_IDS };
    const file = target === undefined ? undefined : await memory?.taken(target, { ...session, ...record }, deadline);
    if (file === undefined) return undefined;
    this.id = session.id;
    this.#record = record;
    this.#file = file;
    return session.idsBelow;
  }

  async drop(deadline: Deadline): Promise<void> {
    const file = this.#file;
    this.forget();
    if (file !== undefined) await this.#forgotten(file, deadline);
  }

  /** Stops using it. It stays recorded, because the server may still have it. */
  forget(): void {
    this.id = undefined;
    if (this.#file !== undefined) this.#remembered?.memory.released(this.#file);
    this.#file = undefined;
    this.#record = undefined;
  }

  /** Ends it with DELETE. Never rejects; ends by the deadline. */
  async close(deadline: Deadline): Promise<void> {
    const [wire, file, id] = [this.#wire(), this.#file, this.id];
    if (!wire || id === undefined) return;
    const isOver = await endSession({ host: this.#host, ...wire, deadline });
    if (isOver || file === undefined) this.forget();
    if (file === undefined) return;
    if (isOver) return this.#forgotten(file, deadline);
    await this.giveUp(deadline);
  }

  async giveUp(deadline: Deadline): Promise<void> {
    const [file, id] = [this.#file, this.id];
    const { memory, target = '' } = this.#remembered ?? {};
    if (file !== undefined && id !== undefined) await this.#done(memory?.givenUp(target, id, file), deadline);
    this.forget();
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

  /** Ends a session that came too late; some servers return the same one each time, which may be in use by now. */
  async endLate(id: string, deadline: Deadline): Promise<void> {
    const { memory, target } = this.#remembered ?? {};
    if (memory && target !== undefined && (await memory.isInUse(target, id, deadline))) return;
    const wire = this.#wire();
    if (wire) await endSession({ host: this.#host, ...wire, deadline, session: { id, version: undefined } });
  }

  async #forgotten(file: string, deadline: Deadline): Promise<void> {
    await this.#done(this.#remembered?.memory.ended(file), deadline);
  }

  async #done(work: Promise<void> | undefined, deadline: Deadline): Promise<void> {
    const { runtime, server: owner } = this.#host;
    await runtime.waits.for(work ?? Promise.resolve(), { label: 'upstream-stop', owner, deadline }).catch(() => {});
  }
}

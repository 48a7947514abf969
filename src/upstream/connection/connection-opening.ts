/**
 * Opens one connection: starts the transport, initializes, reads the lists.
 * Guarantees: each step ends in its time; a failure names the phase, with what the transport knows about it.
 */

import { type ErrorCode, HubError } from '../../model/errors.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { isLocal, timeUpFault, withSigns } from '../call-endings.ts';
import type { ServerLists } from '../link/fetch-lists.ts';
import type { Transport } from '../transport/transport.ts';
import type { ConnectionLoss } from './connection-loss.ts';
import type { ConnectionParts } from './connection-parts.ts';
import type { ConnectionPhase, PhaseListener } from './connection-phase.ts';
import type { Handshaker } from './handshaker.ts';
import type { ListReader } from './list-reader.ts';
import type { Liveness } from './liveness.ts';
import type { ServerProfile } from './server-profile.ts';

export interface ConnectionOpeningParts {
  readonly connection: Pick<ConnectionParts, 'runtime' | 'limits' | 'spec'>;
  readonly transport: Transport;
  readonly phase: ConnectionPhase;
  readonly loss: ConnectionLoss;
  readonly profile: ServerProfile;
  readonly liveness: Pick<Liveness, 'isAlive'>;
  readonly handshaker: Handshaker;
  readonly lists: ListReader;
}

/** What an opening returns. */
export interface OpenedServer {
  readonly hello: InitializeResult;
  readonly lists: ServerLists;
}

/** Time for which lists other than tools may delay a start, ms; after that they are read in the background. */
const BESIDE_MS = 2000;
/** Failures that hide only the tools of a working server; any other failure to read them is the server's. */
const FAULTS_OF_ALL: ReadonlySet<ErrorCode> = new Set(['upstream-auth', 'upstream-session']);

export class ConnectionOpening {
  readonly #parts: ConnectionOpeningParts;

  constructor(parts: ConnectionOpeningParts) {
    this.#parts = parts;
  }

  /** Rejects with a HubError that names the phase. `listener` receives the phases. */
  async open(listener: PhaseListener | undefined): Promise<OpenedServer> {
    const { connection, transport, phase, loss } = this.#parts;
    const { runtime, spec } = connection;
    using _ = phase.follow(listener);
    using own = runtime.deadline(this.#startMs());
    loss.opensUntil(own);
    const beganMs = runtime.clock.nowMs();
    try {
      return await this.#open(own);
    } catch (thrown) {
      loss.check();
      const isExpired = thrown instanceof HubError && thrown.code === 'wait-expired';
      const fault = isExpired ? timeUpFault(spec.slug, phase.current, runtime.clock.nowMs() - beganMs) : thrown;
      const explained = await transport.explained?.(fault, own);
      throw withSigns(explained ?? fault, transport.signs?.() ?? []);
    } finally {
      loss.opensUntil(undefined);
    }
  }

  async #open(own: Deadline): Promise<OpenedServer> {
    const { connection, transport, phase, loss, profile, handshaker } = this.#parts;
    const { runtime, limits, spec } = connection;
    loss.check();
    const start = transport.start(own);
    await runtime.waits.for(start, { label: 'upstream-start', owner: spec.slug, deadline: own });
    using shake = own.sooner(isLocal(spec) ? this.#childStartMs : limits.handshakeMs);
    const hello = await handshaker.shakeHands(shake);
    profile.hello = hello;
    void phase.enter('list');
    using list = runtime.deadline(limits.listMs * limits.listPages);
    loss.opensUntil(list);
    const lists = await this.#parts.lists.read(hello, list, BESIDE_MS);
    const { toolsFault } = lists;
    if (toolsFault && !(await this.#isWellWithout(lists, toolsFault))) throw toolsFault;
    return { hello, lists };
  }

  get #childStartMs(): number {
    const { spec, limits } = this.#parts.connection;
    return spec.startMs ?? limits.startMs;
  }

  /** Returns the time for everything before the lists, ms. */
  #startMs(): number {
    const { spec, limits } = this.#parts.connection;
    return isLocal(spec)
      ? (spec.installMs ?? limits.installMs) + this.#childStartMs
      : limits.connectMs + limits.handshakeMs;
  }

  /** Tells whether a server without readable tools is useful: it returns other lists, or answers a ping. */
  async #isWellWithout({ prompts, resources, templates }: ServerLists, { code }: HubError): Promise<boolean> {
    const { liveness, loss } = this.#parts;
    if (FAULTS_OF_ALL.has(code)) return false;
    const hasOthers = [prompts, resources, templates].some((rows) => rows !== undefined && rows.length > 0);
    const isWell = hasOthers || (await liveness.isAlive());
    loss.check();
    return isWell;
  }
}

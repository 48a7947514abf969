/**
 * Detects that a server has lost the session of a connection, and renews it there. `keep-alive.ts` and
 * `connection-switch.ts` handle servers that do not say so.
 * Guarantees: HTTP 404 for one request alone ends only that request; requests that a lost session did not execute are
 * sent again once; a server that repeatedly loses new sessions loses the connection.
 */
import { type ErrorCode, HubError } from '../../model/errors.ts';
import { Refusal } from '../../model/outcome.ts';
import type { Transport } from '../transport/transport.ts';
import type { ClientSide } from './client-side.ts';
import type { ConnectionLoss } from './connection-loss.ts';
import type { ConnectionParts } from './connection-parts.ts';
import type { Correlator } from './correlator.ts';
import type { Handshaker } from './handshaker.ts';
import type { Liveness } from './liveness.ts';
import type { PendingRequest } from './pending-request.ts';
import type { ServerProfile } from './server-profile.ts';

export interface SessionRenewalParts {
  readonly connection: Pick<ConnectionParts, 'runtime' | 'limits' | 'spec' | 'owner'>;
  readonly transport: Pick<Transport, 'forgetSession'>;
  readonly correlator: Correlator;
  readonly profile: ServerProfile;
  readonly loss: Pick<ConnectionLoss, 'fault' | 'lose'>;
  readonly liveness: Pick<Liveness, 'examine'>;
  readonly clientSide: ClientSide;
  readonly handshaker: Handshaker;
}

/** Renewals without an answered request between them; one more ends the connection. */
const RENEWALS = 3;
/** A session that has just answered is not checked again for each 404, ms. */
const KNOWN_MS = 1000;

export class SessionRenewal {
  readonly #parts: SessionRenewalParts;
  #renewing: Promise<void> | undefined;
  /** The check whether the session is known. */
  #examination: Promise<boolean> | undefined;
  /** When the session was last known to be valid. */
  #knownMs = Number.NEGATIVE_INFINITY;
  /** Renewals since the last answer to anything but initialize. */
  #count = 0;

  constructor(parts: SessionRenewalParts) {
    this.#parts = parts;
  }

  /** Settles when the session is new or the connection lost; undefined when no renewal is running. Never rejects. */
  get renewing(): Promise<void> | undefined {
    return this.#renewing;
  }

  /** Records a reply on this exchange. */
  replied(exchange: number | undefined): void {
    if (this.#count === 0) return;
    const pending = exchange === undefined ? undefined : this.#parts.correlator.at(exchange);
    if (pending !== undefined && pending.plan.method !== 'initialize') this.#count = 0;
  }

  /** A request, or the GET stream (undefined), got 404. `fault`: its error if the session turns out to be known. */
  doubted(id: number | undefined, fault: HubError): void {
    const { connection, correlator, loss } = this.#parts;
    const { runtime } = connection;
    const server = connection.spec.slug;
    if (loss.fault) return;
    const pending = id === undefined ? undefined : correlator.at(id);
    // `upstream-ping` is the check itself.
    if (pending && (pending.plan.method === 'initialize' || pending.plan.label === 'upstream-ping'))
      return pending.settle(refusalOf(fault, 'upstream-session', server));
    if (this.#renewing !== undefined) {
      if (pending) this.#goOn(pending, true, fault);
      return;
    }
    if (runtime.clock.nowMs() - this.#knownMs < KNOWN_MS) return pending?.settle(refusalOf(fault, fault.code, server));
    this.#examination ??= this.#examine();
    void this.#examination.then((isForgotten) => pending && !pending.over && this.#goOn(pending, isForgotten, fault));
  }

  /** Initializes the session again, because the server does not know it; ends the connection if that has not helped. */
  forgotten(): void {
    const { connection, loss } = this.#parts;
    const server = connection.spec.slug;
    if (loss.fault || this.#renewing !== undefined) return;
    this.#count += 1;
    if (this.#count <= RENEWALS) {
      this.#renewing = this.#renew();
      return;
    }
    const message = `${server} loses every session immediately.`;
    loss.lose(new HubError('upstream-session', { message, detail: { server, phase: 'handshake' } }));
  }

  #goOn(pending: PendingRequest, isForgotten: boolean, fault: HubError): void {
    const { connection, correlator } = this.#parts;
    const server = connection.spec.slug;
    if (!isForgotten) pending.settle(refusalOf(fault, fault.code, server));
    else if (pending.resent) pending.settle(refusalOf(fault, 'upstream-session', server));
    else void this.#renewing?.then(() => correlator.again(pending));
  }

  /** Resolves to true when the session is being renewed. Never rejects. */
  async #examine(): Promise<boolean> {
    const condition = await this.#parts.liveness.examine();
    this.#examination = undefined;
    if (condition === 'well') this.#knownMs = this.#parts.connection.runtime.clock.nowMs();
    if (condition === 'forgotten') this.forgotten();
    return this.#renewing !== undefined;
  }

  /** Never rejects: a failure here ends the connection, and with it all callers that wait. */
  async #renew(): Promise<void> {
    const { connection, transport, profile, loss, clientSide, handshaker } = this.#parts;
    const { runtime, limits, owner } = connection;
    using deadline = runtime.deadline(limits.handshakeMs);
    transport.forgetSession();
    try {
      const hello = await handshaker.shakeHands(deadline);
      this.#renewing = undefined;
      profile.hello = hello;
      owner.renewed(clientSide, hello);
    } catch (thrown) {
      this.#renewing = undefined;
      loss.lose(thrown instanceof HubError ? thrown : new HubError('internal', { cause: thrown }));
    }
  }
}

function refusalOf({ message, detail }: HubError, code: ErrorCode, server: string): Refusal {
  return new Refusal(code, message, { ...detail, server });
}

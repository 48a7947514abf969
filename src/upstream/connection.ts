/**
 * One life of a link: a transport that has been opened, the handshake, the requests in flight on it, until it is lost.
 * Promises: `open` ends by its budgets; `lost` settles once; after `close` nothing of it is left: no request, no socket, no process.
 * Does not: try again or keep state beyond its life (`link.ts`).
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { LinkPhase } from '../kernel/facts.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { Correlator } from './correlate.ts';
import type { Flight } from './flight.ts';
import { shakeHands } from './handshake.ts';
import { listTools } from './list.ts';
import { Liveness } from './liveness.ts';
import type { Transport, TransportEvents } from './transport.ts';

export interface ConnectionParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly version: string;
  readonly makeTransport: (spec: ServerSpec, events: TransportEvents) => Transport;
  readonly phase: (phase: LinkPhase) => void;
  readonly raise: (silenceMs: number) => void;
  readonly listChanged: () => void;
}

export class Connection {
  readonly #parts: ConnectionParts;
  readonly transport: Transport;
  readonly correlator: Correlator;
  readonly liveness: Liveness;
  readonly #lost = Promise.withResolvers<HubError>();
  #fault: HubError | undefined;
  #again: Promise<ServerHello> | undefined;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { kernel, limits, spec } = parts;
    this.transport = parts.makeTransport(spec, this.#events());
    this.correlator = new Correlator({
      kernel,
      transport: this.transport,
      ears: {
        silent: (flight) => this.liveness.silent(flight),
        tooSilent: (flight, silentMs) => this.liveness.tooSilent(flight, silentMs),
        ended: (flight) => this.#ended(flight),
        lateReply: () => {},
        listChanged: () => parts.listChanged(),
      },
    });
    this.liveness = new Liveness({
      kernel,
      limits,
      server: spec.slug,
      correlator: this.correlator,
      transport: this.transport,
      raise: parts.raise,
    });
  }

  /** Settles with the reason when this life is over. */
  get lost(): Promise<HubError> {
    return this.#lost.promise;
  }

  /** Opens the transport and shakes hands. Rejects with a HubError that names the phase. */
  async open(deadline: Deadline): Promise<ServerHello> {
    const { kernel, spec, limits } = this.#parts;
    await this.#unlessLost(
      kernel.waits.for(this.transport.start(deadline), { label: 'upstream-start', owner: spec.slug, deadline }),
    );
    using own = deadline.sooner(isLocal(spec) ? (spec.startMs ?? limits.startMs) : limits.handshakeMs);
    return this.#shakeHands(own);
  }

  async list(deadline: Deadline): Promise<Buffer[]> {
    const { kernel, limits, spec } = this.#parts;
    return this.#unlessLost(listTools({ kernel, limits, server: spec.slug, correlator: this.correlator }, deadline));
  }

  send(call: UpstreamCall, silenceMs: number): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { limits } = this.#parts;
    return this.correlator.ask(
      {
        method: call.method,
        label: 'upstream-call',
        owner: call.owner,
        deadline: call.deadline,
        back: call.back,
        questionMs: limits.questionMs,
        silenceMs,
      },
      (id) => call.params(id),
    );
  }

  /** Ends this life for a reason; the first one counts. */
  lose(fault: HubError): void {
    if (this.#fault) return;
    this.#fault = fault;
    this.#lost.resolve(fault);
  }

  /** Everything in flight ends with what happened; then the transport is stopped. Never rejects. */
  async close(deadline: Deadline): Promise<void> {
    const { kernel, spec } = this.#parts;
    const fault = this.#fault ?? new HubError('server-down', { message: `${spec.slug} was stopped.` });
    this.lose(fault);
    this.correlator.failAll(
      (flight) =>
        new Refusal(
          fault.code === 'server-down' ? 'upstream-gone' : fault.code,
          `${spec.slug}: the connection ended during ${flight.plan.method}: ${fault.message}`,
          { ...fault.detail, server: spec.slug, phase: 'call', outcome: 'unknown' },
        ),
    );
    try {
      await kernel.waits.for(this.transport.stop(deadline), { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // It did not stop in time; the sweep of marked descendants ends what is left.
    }
    this.correlator[Symbol.dispose]();
  }

  async #shakeHands(deadline: Deadline): Promise<ServerHello> {
    this.#parts.phase('handshake');
    const parts = {
      server: this.#parts.spec.slug,
      correlator: this.correlator,
      transport: this.transport,
      version: this.#parts.version,
    };
    return this.#unlessLost(shakeHands(parts, deadline));
  }

  async #unlessLost<T>(work: Promise<T>): Promise<T> {
    const lost = this.lost.then((fault) => {
      throw fault;
    });
    // Whoever comes second has nobody to tell.
    lost.catch(() => {});
    work.catch(() => {});
    return Promise.race([work, lost]);
  }

  #events(): TransportEvents {
    return {
      message: (envelope, exchange) => this.correlator.message(envelope, exchange),
      failed: (id, fault) => this.correlator.failed(id, fault),
      alive: (id) => this.correlator.alive(id),
      phase: (phase) => this.#parts.phase(phase),
      sessionLost: (id) => this.#sessionLost(id),
      closed: (fault) => this.lose(fault),
      said: (line) => this.#parts.kernel.bus.publish({ type: 'server-said', server: this.#parts.spec.slug, line }),
    };
  }

  /** The server forgot us: initialize once more, and send once more what it did not execute. */
  #sessionLost(id: number | undefined): void {
    const { kernel, limits, spec } = this.#parts;
    const flight = id === undefined ? undefined : this.correlator.at(id);
    if (flight?.resent) {
      flight.settle(
        new Refusal('upstream-session', undefined, { server: spec.slug, phase: 'call', outcome: 'not-executed' }),
      );
      return;
    }
    if (!this.#again) {
      const deadline = kernel.deadline(limits.handshakeMs);
      this.#again = this.#shakeHands(deadline).finally(() => {
        deadline[Symbol.dispose]();
        this.#again = undefined;
      });
    }
    this.#again.then(
      () => flight && this.correlator.again(flight),
      (fault: HubError) => this.lose(fault),
    );
  }

  #ended(flight: Flight): void {
    const reason = flight.plan.deadline.ended;
    const server = this.#parts.spec.slug;
    this.correlator.cancel(flight, reason === 'time-up' ? 'timeout' : 'cancelled by the client');
    const waitedMs = Math.round(this.#parts.kernel.clock.nowMs() - flight.sentMs);
    const detail = { server, phase: phaseOf(flight), waitedMs, outcome: 'unknown' } as const;
    if (reason !== 'time-up') {
      flight.settle(
        new Refusal(reason === 'draining' || reason === 'stopped' ? 'draining' : 'client-gone', undefined, detail),
      );
      return;
    }
    const setting = SETTINGS[flight.plan.method] ?? 'totalMs';
    flight.settle(
      new Refusal(
        'upstream-timeout',
        `${server} did not finish ${flight.plan.method} within ${waitedMs} ms; the setting ${setting} allows more.`,
        { ...detail, setting },
      ),
    );
  }
}

const SETTINGS: Readonly<Record<string, string>> = {
  initialize: 'handshakeMs',
  'tools/list': 'listMs',
  ping: 'pingMs',
};

function phaseOf(flight: Flight): string {
  return flight.plan.method === 'initialize' ? 'handshake' : flight.plan.method === 'tools/list' ? 'list' : 'call';
}

/** A server whose process the hub runs. */
export function isLocal(spec: ServerSpec): boolean {
  return spec.transport.kind === 'stdio' || (spec.transport.kind === 'http' && spec.transport.launch !== undefined);
}

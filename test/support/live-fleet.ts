/**
 * A fleet with real transports in real time (sockets, children), and calls to it: for tests of what only shows with the
 * outside in it.
 * Promises: disposing stops the fleet, its egress and its sockets, and fails when a wait or a descendant is left.
 * Does not: freeze time (`fleet-rig.ts` does, with scripted servers).
 */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { type Limits, limitsFrom } from '../../src/config/limits.ts';
import type { HubEvent } from '../../src/model/events.ts';
import { isRefusal, type Outcome, type Refusal } from '../../src/model/outcome.ts';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { createEgress, type Egress } from '../../src/net/egress.ts';
import { CallBudget, type CallLimits } from '../../src/runtime/call-budget.ts';
import type { Deadline } from '../../src/runtime/deadline.ts';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.ts';
import { InstallLock } from '../../src/subprocess/install/install-lock.ts';
import { SearchPath } from '../../src/subprocess/prepare/search-path.ts';
import { livingMarked } from '../../src/subprocess/terminate/sweep.ts';
import type { UpstreamCall, UpstreamReply } from '../../src/upstream/call.ts';
import { createPeerEndpoint } from '../../src/upstream/peer/peer-endpoint.ts';
import { createServerRegistry, type ServerRegistry } from '../../src/upstream/registry.ts';
import { createSseTransport } from '../../src/upstream/transport/sse/sse.ts';
import { createStdioTransport } from '../../src/upstream/transport/stdio/stdio.ts';
import { createHttpTransport } from '../../src/upstream/transport/streamable-http/streamable-http.ts';
import type { Transport, TransportEvents } from '../../src/upstream/transport/transport.ts';
import { createUntypedTransport } from '../../src/upstream/transport/untyped.ts';
import { delay, until } from './hub.ts';
import { NOBODY } from './nobody.ts';
import { FAULT, serverSpec } from './stdio-rig.ts';

const CALL_MS = 30_000;

export interface LiveCall extends Partial<Omit<UpstreamCall, 'budget'>> {
  /** Default: 30 s. */
  readonly deadline?: Deadline;
  /** Default: as configured. */
  readonly times?: Omit<CallLimits, 'questionMs'>;
}

export interface LiveFleetOptions {
  /** On top of short times for tests; not held to the table's ranges. */
  readonly limits?: Partial<Limits>;
  readonly slot?: number;
  /** Private socket of hub 1. */
  readonly socketPath?: string;
}

let fleets = 0;

export class LiveFleet {
  readonly runtime: Runtime = createRuntime();
  readonly facts: HubEvent[] = [];
  readonly registry: ServerRegistry;
  readonly mark: string;
  readonly #limits: Limits;
  readonly #egress: Egress;
  readonly #options: LiveFleetOptions;
  /** The product's own timers do not hold a process open; a test that waits for one must. */
  readonly #awake = setInterval(() => {}, 1000);
  #door: Server | undefined;

  constructor(options: LiveFleetOptions = {}) {
    const { runtime } = this;
    this.#options = options;
    runtime.bus.listen((fact) => this.facts.push(fact));
    fleets += 1;
    this.mark = `test${process.pid}.live-1.${fleets}`;
    const limits = { ...limitsFrom({}), childTermMs: 300, restartBaseMs: 100, ...options.limits };
    this.#limits = limits;
    const egress = createEgress({ runtime, limits, env: {} });
    this.#egress = egress;
    const shared = { runtime, limits, mark: this.mark, configDir: import.meta.dirname };
    const installLock = new InstallLock({ runtime, limits });
    const searchPath = new SearchPath({ runtime, env: process.env });
    const makeTransport = (spec: ServerSpec, events: TransportEvents): Transport => {
      const { transport } = spec;
      if (transport.kind === 'stdio')
        return createStdioTransport({ ...shared, spec, process: transport, installLock, searchPath, events });
      if (transport.kind === 'sse') return createSseTransport({ ...shared, spec, sse: transport, egress, events });
      const makeHttp = (own: TransportEvents) =>
        createHttpTransport({ ...shared, spec, http: transport, egress, events: own, launched: undefined });
      if (!transport.untyped) return makeHttp(events);
      const makeSse = (own: TransportEvents) =>
        createSseTransport({ ...shared, spec, sse: transport, egress, events: own });
      return createUntypedTransport({ runtime, server: spec.name, events, makeHttp, makeSse });
    };
    const peerSocket = () => options.socketPath ?? '/nowhere';
    this.registry = createServerRegistry({
      runtime,
      limits,
      version: '0',
      slot: options.slot ?? 1,
      peerSocket,
      makeTransport,
      spokenBefore: () => undefined,
      everybody: NOBODY,
    });
  }

  /** Serves this fleet to sibling hubs on its socket. */
  async openDoor(): Promise<void> {
    const door = createPeerEndpoint({
      runtime: this.runtime,
      limits: this.#limits,
      registry: this.registry,
      slot: this.#options.slot ?? 1,
      handover: { countForwarded: () => ({ [Symbol.dispose]() {} }) },
    });
    this.#door = createServer(door);
    await new Promise<void>((resolve) => this.#door?.listen(this.#options.socketPath, resolve));
  }

  async closeDoor(): Promise<void> {
    const door = this.#door;
    this.#door = undefined;
    if (!door) return;
    const closed = new Promise<void>((resolve) => door.close(() => resolve()));
    door.closeAllConnections();
    await closed;
  }

  async ready(slug: string): Promise<void> {
    await until(() => this.registry.status(slug)?.state === 'ready', 8000, `${slug} ready`);
  }

  async call(slug: string, tool: string, args: object = {}, more: LiveCall = {}): Promise<Outcome<UpstreamReply>> {
    const { deadline, times, ...call } = more;
    using budget = times
      ? new CallBudget(this.runtime.deadline(CALL_MS), 'totalMs', { questionMs: this.#limits.questionMs, ...times })
      : this.registry.startBudget(slug, tool);
    budget.deadline.moveTo(deadline?.atMs ?? this.runtime.clock.nowMs() + CALL_MS);
    deadline?.onEnd((reason) => budget.deadline.end(reason));
    const token = more.back?.progressToken;
    return await this.registry.call(slug, {
      method: 'tools/call',
      params: (id) => {
        const meta = token === undefined ? {} : { _meta: { progressToken: id } };
        return Buffer.from(JSON.stringify({ name: tool, arguments: args, ...meta }));
      },
      back: { progressToken: undefined, notify: () => {} },
      fairKey: 'key',
      owner: 'r-1',
      ...call,
      budget,
    });
  }

  /** The text of a result; fails for anything else. */
  async text(slug: string, tool: string, args: object = {}, more: LiveCall = {}): Promise<string> {
    const answer = await this.call(slug, tool, args, more);
    if (isRefusal(answer)) throw new assert.AssertionError({ message: `${answer.code}: ${answer.message}` });
    const value = JSON.parse(answer.json.toString()) as { content?: { text?: string }[] };
    return value.content?.[0]?.text ?? answer.json.toString();
  }

  async refusal(slug: string, tool: string, args: object = {}, more: LiveCall = {}): Promise<Refusal> {
    const answer = await this.call(slug, tool, args, more);
    assert.ok(isRefusal(answer), 'a refusal was expected');
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#stop();
    } finally {
      clearInterval(this.#awake);
    }
  }

  async #stop(): Promise<void> {
    await this.closeDoor();
    using deadline = this.runtime.deadline(8000);
    await this.registry.stop(deadline);
    await this.#egress.close(deadline);
    await this.runtime.scope.close(deadline);
    await delay(20);
    assert.deepEqual(this.runtime.waits.table(), [], 'no wait is left');
    await until(async () => (await livingMarked(this.mark)).length === 0, 3000, 'no descendant left');
  }
}

export function httpSpec(slug: string, url: string, more: Partial<ServerSpec> = {}): ServerSpec {
  const child = { command: '', args: [], env: {}, cwd: undefined };
  return serverSpec(child, {
    ...{ name: slug, slug, homeHub: 0, transport: { kind: 'http', url, headers: {}, launch: undefined } },
    ...more,
  });
}

export function sseSpec(slug: string, url: string, headers: Readonly<Record<string, string>> = {}): ServerSpec {
  return httpSpec(slug, url, { transport: { kind: 'sse', url, headers } });
}

/** `fault-stdio.ts` in one of its modes. */
export function stdioSpec(slug: string, mode: readonly string[], more: Partial<ServerSpec> = {}): ServerSpec {
  const child = { command: process.execPath, args: [FAULT, ...mode], env: {}, cwd: undefined };
  return serverSpec(child, { name: slug, slug, ...more });
}

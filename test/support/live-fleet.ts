/**
 * A fleet with real transports in real time (sockets, children), and calls to it: for tests of what only shows with the outside in it.
 * Promises: disposing stops the fleet, its egress and its sockets, and fails when a wait or a descendant is left.
 * Does not: freeze time (`fleet-rig.ts` does, with scripted servers).
 */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { type Limits, limitsFrom } from '../../src/config/limits.ts';
import type { Fact } from '../../src/kernel/facts.ts';
import { createKernel, type Kernel } from '../../src/kernel/kernel.ts';
import { isRefusal, type Outcome, type Refusal } from '../../src/kernel/outcome.ts';
import type { ServerSpec } from '../../src/kernel/snapshot.ts';
import { createEgress, type Egress } from '../../src/net/egress.ts';
import type { UpstreamCall, UpstreamReply } from '../../src/upstream/call.ts';
import { createInstallLock } from '../../src/upstream/child/install-lock.ts';
import { createSearchPath } from '../../src/upstream/child/search-path.ts';
import { livingMarked } from '../../src/upstream/child/sweep.ts';
import { createFleet, type Fleet } from '../../src/upstream/fleet.ts';
import { createPeerDoor } from '../../src/upstream/peer-door.ts';
import type { Transport, TransportEvents } from '../../src/upstream/transport.ts';
import { createHttpTransport } from '../../src/upstream/transports/http.ts';
import { createSseTransport } from '../../src/upstream/transports/sse.ts';
import { createStdioTransport } from '../../src/upstream/transports/stdio.ts';
import { createUntypedTransport } from '../../src/upstream/transports/untyped.ts';
import { delay, until } from './hub.ts';
import { NOBODY } from './nobody.ts';
import { FAULT, serverSpec } from './stdio-rig.ts';

export interface LiveFleetOptions {
  /** On top of short times for tests; not held to the table's ranges. */
  readonly limits?: Partial<Limits>;
  readonly slot?: number;
  /** Private socket of hub 1. */
  readonly socketPath?: string;
}

let fleets = 0;

export class LiveFleet {
  readonly kernel: Kernel = createKernel();
  readonly facts: Fact[] = [];
  readonly fleet: Fleet;
  readonly mark: string;
  readonly #limits: Limits;
  readonly #egress: Egress;
  readonly #options: LiveFleetOptions;
  /** The product's own timers do not hold a process open; a test that waits for one must. */
  readonly #awake = setInterval(() => {}, 1000);
  #door: Server | undefined;

  constructor(options: LiveFleetOptions = {}) {
    const { kernel } = this;
    this.#options = options;
    kernel.bus.listen((fact) => this.facts.push(fact));
    fleets += 1;
    this.mark = `test${process.pid}.live-1.${fleets}`;
    const limits = { ...limitsFrom({}), childTermMs: 300, restartBaseMs: 100, ...options.limits };
    this.#limits = limits;
    const egress = createEgress({ kernel, limits, env: {} });
    this.#egress = egress;
    const shared = { kernel, limits, mark: this.mark, configDir: import.meta.dirname };
    const installLock = createInstallLock({ kernel, limits });
    const searchPath = createSearchPath({ kernel, env: process.env });
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
      return createUntypedTransport({ kernel, server: spec.name, events, makeHttp, makeSse });
    };
    const peerSocket = () => options.socketPath ?? '/nowhere';
    this.fleet = createFleet({
      kernel,
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
    const door = createPeerDoor({ kernel: this.kernel, limits: this.#limits, fleet: this.fleet });
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
    await until(() => this.fleet.status(slug)?.state === 'ready', 8000, `${slug} ready`);
  }

  async call(
    slug: string,
    tool: string,
    args: object = {},
    more: Partial<UpstreamCall> = {},
  ): Promise<Outcome<UpstreamReply>> {
    using deadline = more.deadline ?? this.kernel.deadline(30_000);
    const token = more.back?.progressToken;
    return await this.fleet.call(slug, {
      method: 'tools/call',
      params: (id) => {
        const meta = token === undefined ? {} : { _meta: { progressToken: id } };
        return Buffer.from(JSON.stringify({ name: tool, arguments: args, ...meta }));
      },
      times: this.fleet.timesOf(slug, tool),
      back: { progressToken: undefined, notify: () => {} },
      fairKey: 'key',
      owner: 'r-1',
      ...more,
      deadline,
    });
  }

  /** The text of a result; fails for anything else. */
  async text(slug: string, tool: string, args: object = {}, more: Partial<UpstreamCall> = {}): Promise<string> {
    const answer = await this.call(slug, tool, args, more);
    if (isRefusal(answer)) throw new assert.AssertionError({ message: `${answer.code}: ${answer.message}` });
    const value = JSON.parse(answer.json.toString()) as { content?: { text?: string }[] };
    return value.content?.[0]?.text ?? answer.json.toString();
  }

  async refusal(slug: string, tool: string, args: object = {}, more: Partial<UpstreamCall> = {}): Promise<Refusal> {
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
    using deadline = this.kernel.deadline(8000);
    await this.fleet.stop(deadline);
    await this.#egress.close(deadline);
    await this.kernel.scope.close(deadline);
    await delay(20);
    assert.deepEqual(this.kernel.waits.table(), [], 'no wait is left');
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

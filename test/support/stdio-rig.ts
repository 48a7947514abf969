/**
 * A stdio transport with everything around it (kernel, search path, install lock) and a record of what it told; the
 * server is `fault-stdio.ts` unless a test says otherwise.
 * Promises: disposing stops it and fails when a descendant is left.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Limits, limitsFrom } from '../../src/config/limits.ts';
import type { HubError } from '../../src/model/errors.ts';
import type { HubEvent, LinkPhase } from '../../src/model/events.ts';
import { isRefusal, type Outcome } from '../../src/model/outcome.ts';
import type { ProcessSpec, ServerSpec } from '../../src/model/snapshot.ts';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.ts';
import { InstallLock } from '../../src/subprocess/install/install-lock.ts';
import { SearchPath } from '../../src/subprocess/prepare/search-path.ts';
import { livingMarked } from '../../src/subprocess/terminate/sweep.ts';
import { createStdioTransport } from '../../src/upstream/transport/stdio/stdio.ts';
import { until } from './hub.ts';

export const FAULT = join(import.meta.dirname, 'fault-stdio.ts');
const HERE = import.meta.dirname;
let tests = 0;

export function serverSpec(process: ProcessSpec, more: Partial<ServerSpec> = {}): ServerSpec {
  const times = { silenceMs: undefined, totalMs: undefined, callTimeoutMs: undefined };
  return {
    ...{
      name: 'fault',
      slug: 'fault',
      enabled: true,
      interactive: false,
      era: 'auto',
      times,
      inFlight: undefined,
      tools: {},
    },
    ...{ startMs: undefined, installMs: undefined, homeHub: 1, hash: 'h', transport: { kind: 'stdio', ...process } },
    ...more,
  };
}

export interface RigOptions {
  readonly limits?: Partial<Limits>;
  readonly process?: Partial<ProcessSpec>;
  readonly spec?: Partial<ServerSpec>;
  readonly share?: Rig;
  readonly configDir?: string;
  /** Environment in which programs are searched. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** A transport with everything around it, and what it told. */
export class Rig {
  readonly runtime: Runtime;
  readonly facts: HubEvent[] = [];
  readonly mark: string;
  readonly said: string[] = [];
  readonly phases: LinkPhase[] = [];
  readonly closed: HubError[] = [];
  readonly transport: ReturnType<typeof createStdioTransport>;
  readonly installLock: InstallLock;
  readonly replies: string[] = [];
  readonly #shared: boolean;
  /** Messages so far. */
  count = 0;
  lifeSigns = 0;
  /** Called with every message; a test may throw from it. */
  onMessage: () => void = () => {};

  constructor(args: readonly string[], options: RigOptions = {}) {
    this.runtime = options.share?.runtime ?? createRuntime();
    this.runtime.bus.listen((fact) => this.facts.push(fact));
    this.#shared = options.share !== undefined;
    tests += 1;
    this.mark = options.share?.mark ?? `test${process.pid}.hub-1.${tests}`;
    const limits = { ...limitsFrom({}), childTermMs: 300, ...options.limits };
    const child = { command: process.execPath, args: [FAULT, ...args], env: {}, cwd: undefined, ...options.process };
    this.installLock = options.share?.installLock ?? new InstallLock({ runtime: this.runtime, limits });
    this.transport = createStdioTransport({
      ...{ runtime: this.runtime, limits, spec: serverSpec(child, options.spec), process: child, mark: this.mark },
      ...{ configDir: options.configDir ?? HERE, installLock: this.installLock },
      searchPath: new SearchPath({ runtime: this.runtime, env: options.env ?? process.env }),
      events: {
        message: (envelope) => {
          this.count += 1;
          this.onMessage();
          if (envelope.kind === 'reply' && this.replies.length < 50_000) this.replies.push(envelope.bytes.toString());
        },
        failed: () => {},
        unreadable: () => {},
        unmatched: () => {},
        alive: () => {
          this.lifeSigns += 1;
        },
        phase: (phase) => void this.phases.push(phase),
        sessionLost: () => {},
        closed: (fault) => this.closed.push(fault),
        said: (line) => this.said.push(line),
        learned: () => {},
        question: () => {},
      },
    });
  }

  async start(ms = 8000): Promise<void> {
    using deadline = this.runtime.deadline(ms);
    await this.transport.start(deadline);
  }

  send(id: number | undefined, method: string, params: unknown = {}): Outcome<void> {
    using deadline = this.runtime.deadline(5000);
    const idPart = id === undefined ? {} : { id };
    return this.transport.send(
      Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...idPart, method, params })),
      id,
      deadline,
    );
  }

  async ask(id: number, method: string, params: unknown = {}): Promise<string> {
    assert.equal(isRefusal(this.send(id, method, params)), false);
    const mine = (text: string) => text.includes(`"id":${id},`);
    await until(() => this.replies.some(mine), 8000, `the answer to ${id}`);
    return this.replies.find(mine) ?? '';
  }

  tool(id: number, name: string, args: unknown = {}): Promise<string> {
    return this.ask(id, 'tools/call', { name, arguments: args });
  }

  async stop(ms = 5000): Promise<number> {
    const born = performance.now();
    using deadline = this.runtime.deadline(ms);
    await this.transport.stop(deadline);
    return performance.now() - born;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#shared) return; // the one it shares with looks after the mark
    await until(async () => (await livingMarked(this.mark)).length === 0, 3000, 'no descendant left');
    using deadline = this.runtime.deadline(3000);
    await this.runtime.scope.close(deadline);
  }
}

export async function started(args: readonly string[], options: RigOptions = {}): Promise<Rig> {
  const rig = new Rig(args, options);
  await rig.start();
  await rig.ask(1, 'initialize', { protocolVersion: '2025-11-25' });
  return rig;
}

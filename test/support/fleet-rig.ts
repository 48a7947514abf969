/**
 * A fleet on a frozen clock whose servers are played by tests (`scripted-transport.ts`).
 * Promises: `close` stops it and asserts that nothing is left: no wait, no place in flight, no entry in the wheel.
 */
import assert from 'node:assert/strict';
import { type Limits, limitsFrom } from '../../src/config/limits.ts';
import { isRefusal, type Outcome, type Refusal } from '../../src/model/outcome.ts';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { CallBudget, type CallLimits } from '../../src/runtime/call-budget.ts';
import type { Deadline } from '../../src/runtime/deadline.ts';
import type { UpstreamReply } from '../../src/upstream/call.ts';
import type { ConnectionOwner } from '../../src/upstream/client-context.ts';
import { createServerRegistry, type ServerRegistry } from '../../src/upstream/registry.ts';
import { type FrozenRuntime, frozenRuntime } from './frozen-runtime.ts';
import { NOBODY } from './nobody.ts';
import { type Script, ScriptedTransport, script, scriptedSpec, settle } from './scripted-transport.ts';

export interface RigOptions {
  readonly limits?: Partial<Limits>;
  readonly script?: Partial<Script>;
  readonly specs?: readonly ServerSpec[];
  readonly random?: () => number;
}

export interface Running {
  readonly deadline: Deadline;
  readonly progress: string[];
  outcome: Outcome<UpstreamReply> | undefined;
}

export interface CallOptions {
  readonly server?: string;
  readonly tool?: string;
  readonly times?: Partial<CallLimits> & { readonly totalMs?: number };
  /** Raw JSON text of the client's token. */
  readonly progressToken?: string;
  readonly fairKey?: string;
  /** The session behind the call. */
  readonly owner?: ConnectionOwner;
}

export class FleetRig {
  readonly frozen: FrozenRuntime;
  readonly limits: Limits;
  readonly script: Script;
  readonly registry: ServerRegistry;
  /** Every life of every server, oldest first. */
  readonly lives: ScriptedTransport[] = []; // bounded by: one test
  readonly listed: string[] = []; // bounded by: one test

  constructor(options: RigOptions = {}) {
    this.frozen = frozenRuntime(options.random);
    this.limits = { ...limitsFrom({}), ...options.limits };
    this.script = script(options.script);
    this.registry = createServerRegistry({
      spokenBefore: () => undefined,
      everybody: NOBODY,
      runtime: this.frozen.runtime,
      limits: this.limits,
      version: '0',
      slot: 1,
      peerSocket: (slot) => `/nowhere/${slot}`,
      makeTransport: (_spec, events) => {
        const life = new ScriptedTransport(this.script, events, () => this.nowMs);
        this.lives.push(life);
        return life;
      },
    });
    this.registry.onListed((raw) => this.listed.push((raw.tools ?? []).map((tool) => tool.toString('utf8')).join()));
    if (options.specs) this.registry.apply(options.specs);
  }

  /** Applied, and settled as far as no time is needed. */
  static async ready(options: RigOptions = {}): Promise<FleetRig> {
    const rig = new FleetRig({ specs: [scriptedSpec()], ...options });
    await settle();
    return rig;
  }

  get life(): ScriptedTransport {
    const last = this.lives.at(-1);
    if (!last) throw new Error('no life yet');
    return last;
  }

  get nowMs(): number {
    return this.frozen.runtime.clock.nowMs();
  }

  state(slug = 'scripted'): string | undefined {
    return this.registry.status(slug)?.state;
  }

  async pass(ms: number): Promise<void> {
    await this.frozen.advanceAsync(ms);
  }

  call(options: CallOptions = {}): Running {
    const { runtime } = this.frozen;
    const { silenceMs, questionMs, totalMs } = this.limits;
    const times = { silenceMs, questionMs, totalMs, callTimeoutMs: undefined, ...options.times };
    const deadline = runtime.deadline(times.totalMs);
    const running: Running = { deadline, progress: [], outcome: undefined };
    const token = options.progressToken;
    const finish = (outcome: Outcome<UpstreamReply>): void => {
      running.outcome = outcome;
      deadline[Symbol.dispose]();
    };
    const outcome = this.registry.call(options.server ?? 'scripted', {
      method: 'tools/call',
      params: (id) =>
        Buffer.from(
          JSON.stringify({
            ...(token === undefined ? {} : { _meta: { progressToken: id } }),
            name: options.tool ?? 'echo',
            arguments: {},
          }),
        ),
      budget: new CallBudget(deadline, 'totalMs', times),
      back: {
        progressToken: token,
        notify: (_method, params) => running.progress.push(params.toString('utf8')),
        ask: options.owner && ((asking) => (options.owner as ConnectionOwner).ask(asking)),
      },
      sessionConnection: options.owner && (() => options.owner as ConnectionOwner),
      fairKey: options.fairKey ?? 'somebody',
      owner: 'a test',
    });
    if (outcome instanceof Promise) void outcome.then(finish);
    else finish(outcome);
    return running;
  }

  facts(type: string): Record<string, unknown>[] {
    return this.frozen.facts.filter((fact) => fact.type === type) as unknown as Record<string, unknown>[];
  }

  async close(): Promise<void> {
    const { runtime } = this.frozen;
    const stopping = runtime.deadline(5000);
    let isStopped = false;
    void this.registry.stop(stopping).then(() => {
      isStopped = true;
    });
    for (let ms = 0; ms <= 5000 && !isStopped; ms += 50) await this.pass(50);
    assert.ok(isStopped, 'the fleet stops by its deadline');
    stopping[Symbol.dispose]();
    // Frames that nobody waits for keep their deadline for five seconds.
    await this.pass(6000);
    assert.deepEqual(runtime.waits.table(), []);
    const inFlight = runtime.ceilings.table().find((row) => row.name === 'upstream.in-flight');
    assert.equal(inFlight?.size ?? 0, 0);
    assert.equal(runtime.wheel.size, 0);
    assert.deepEqual([...this.facts('task-faulted'), ...this.facts('task-stuck')], []);
  }
}

export function refusalOf(running: Running): Refusal {
  const { outcome } = running;
  assert.ok(outcome !== undefined && isRefusal(outcome), `refused: ${JSON.stringify(outcome)}`);
  return outcome;
}

export function textOf(running: Running): string {
  const { outcome } = running;
  assert.ok(outcome !== undefined && !isRefusal(outcome), `answered: ${JSON.stringify(outcome)}`);
  return outcome.json.toString('utf8');
}

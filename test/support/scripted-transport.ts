/**
 * A transport without a wire: a test plays the server. Everything sent is kept in order; what is not scripted stays
 * unanswered.
 * Promises: `hello`, `lists` and `pongs` answer by themselves until a test switches them off; no timer, socket or
 * process is involved.
 */
import { HubError } from '../../src/model/errors.ts';
import type { LinkPhase } from '../../src/model/events.ts';
import { isRefusal, type Outcome, Refusal } from '../../src/model/outcome.ts';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { scanAnswer } from '../../src/protocol/answer.ts';
import type { Transport, TransportEvents } from '../../src/upstream/transport/transport.ts';

export interface Sent {
  readonly id: number | undefined;
  readonly method: string;
  readonly params: Record<string, unknown>;
  readonly text: string;
}

/** What every life of a scripted server does by itself; tests change it as they go. */
export interface Script {
  hello: boolean;
  version: string;
  capabilities: object;
  /** `first` = only the first one of a life. */
  lists: boolean | 'first';
  tools: readonly object[];
  pongs: boolean;
  /** A start that never settles, or fails. */
  start: 'ok' | 'hangs' | HubError;
  phases: readonly LinkPhase[];
  cpuMs: number | undefined;
  stopHangs: boolean;
}

export function script(more: Partial<Script> = {}): Script {
  return {
    ...{ hello: true, version: '2025-11-25', capabilities: { tools: { listChanged: true } }, lists: true },
    ...{ tools: [{ name: 'echo', inputSchema: { type: 'object' } }], pongs: true, start: 'ok', phases: [] },
    ...{ cpuMs: undefined, stopHangs: false },
    ...more,
  };
}

export class ScriptedTransport implements Transport {
  readonly script: Script;
  readonly events: TransportEvents;
  readonly nowMs: () => number;
  readonly sent: Sent[] = []; // bounded by: one test
  readonly aborted: number[] = []; // bounded by: one test
  /** Ids of requests that have not left. */
  readonly unsent = new Set<number>(); // bounded by: one test
  started = false;
  stopped = false;
  refuse: Refusal | undefined;
  /**
   * The server does not know the session, and says so to every request but initialize, until the hub forgets it too.
   */
  forgotten = false;
  /** `always` = it answers ping without looking at the session. */
  pings: 'usual' | 'always' = 'usual';
  /** The server answers every request with HTTP 500. */
  failing = false;

  constructor(plan: Script, events: TransportEvents, nowMs: () => number = () => 0) {
    this.script = plan;
    this.nowMs = nowMs;
    this.events = events;
  }

  async start(): Promise<void> {
    for (const phase of this.script.phases) await this.events.phase(phase);
    this.started = true;
    if (this.script.start === 'hangs') await new Promise<void>(() => {});
    if (this.script.start instanceof HubError) throw this.script.start;
  }

  send(frame: Buffer, id: number | undefined): Outcome<void> {
    if (this.refuse) return this.refuse;
    if (this.stopped) return new Refusal('server-down');
    const text = frame.toString('utf8');
    const message = JSON.parse(text) as { method?: string; params?: Record<string, unknown> };
    this.sent.push({ id, method: message.method ?? '', params: message.params ?? {}, text });
    if (id === undefined) return undefined;
    const { script } = this;
    if (this.failing) queueMicrotask(() => this.fail(id));
    else if (this.forgotten && message.method !== 'initialize' && !this.#isFree(message.method))
      queueMicrotask(() => this.forget(id));
    else if (message.method === 'initialize' && script.hello) this.reply(id, this.helloResult());
    else if (message.method === 'tools/list' && this.#isListed()) this.reply(id, { tools: script.tools });
    else if (message.method === 'ping' && script.pongs) this.reply(id, {});
    return undefined;
  }

  #isFree(method: string | undefined): boolean {
    return method === 'ping' && this.pings === 'always';
  }

  #isListed(): boolean {
    return this.script.lists === 'first' ? this.of('tools/list').length === 1 : this.script.lists;
  }

  helloResult(): object {
    const { version, capabilities } = this.script;
    return {
      protocolVersion: version,
      capabilities,
      serverInfo: { name: 'scripted', version: '1' },
      instructions: 'hi',
    };
  }

  /** The request with this id meets HTTP 404. */
  forget(id: number | undefined): void {
    const detail = { phase: 'answer', status: 404, outcome: 'unknown' } as const;
    this.events.sessionLost(id, new HubError('upstream-http', { message: 'The server answered HTTP 404.', detail }));
  }

  fail(id: number): void {
    const detail = { phase: 'answer', status: 500, outcome: 'unknown' } as const;
    this.events.failed(id, new HubError('upstream-http', { message: 'The server answered HTTP 500.', detail }));
  }

  forgetSession(): void {
    this.forgotten = false;
  }

  abort(id: number): boolean {
    this.aborted.push(id);
    return !this.unsent.delete(id);
  }

  negotiated(): void {}

  cpuMs(): number | undefined {
    return this.script.cpuMs;
  }

  /** The figure is always a new one. */
  cpuReadMs(): number | undefined {
    return this.script.cpuMs === undefined ? undefined : this.nowMs();
  }

  stderrTail(): readonly string[] {
    return ['last words'];
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.script.stopHangs) await new Promise<void>(() => {});
  }

  /** The server says this. */
  say(message: object | string, exchange?: number): void {
    const bytes = Buffer.from(typeof message === 'string' ? message : JSON.stringify({ jsonrpc: '2.0', ...message }));
    const envelope = scanAnswer(bytes, { maxDepth: 64, maxIdBytes: 256, strict: true, repairBytes: 1024 });
    if (isRefusal(envelope)) throw new Error(envelope.message);
    this.events.message(envelope, exchange);
  }

  reply(id: number | undefined, result: object): void {
    this.say({ id, result });
  }

  /** Requests and notifications of this method, oldest first. */
  of(method: string): Sent[] {
    return this.sent.filter((one) => one.method === method);
  }

  last(method: string): Sent {
    const found = this.of(method).at(-1);
    if (!found) throw new Error(`no ${method} was sent`);
    return found;
  }
}

export function scriptedSpec(more: Partial<ServerSpec> = {}): ServerSpec {
  const times = { silenceMs: undefined, totalMs: undefined, callTimeoutMs: undefined };
  return {
    ...{
      name: 'Scripted',
      slug: 'scripted',
      enabled: true,
      interactive: false,
      era: 'auto',
      times,
      inFlight: undefined,
      tools: {},
    },
    ...{ startMs: undefined, installMs: undefined, homeHub: 1, hash: 'h1' },
    transport: { kind: 'stdio', command: 'x', args: [], env: {}, cwd: undefined },
    ...more,
  };
}

/** Lets promises settle. */
export async function settle(turns = 3): Promise<void> {
  for (let i = 0; i < turns; i += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

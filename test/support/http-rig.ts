/**
 * A transport towards a fault server, with everything it says kept in order: for tests of
 * `upstream/transport/streamable-http/streamable-http.ts`.
 * Promises: `ask` resolves with the reply's text or rejects with the HubError that came instead; `close` leaves nothing
 * behind.
 */
import { limitsFrom } from '../../src/config/limits.ts';
import type { HubError } from '../../src/model/errors.ts';
import type { HubEvent } from '../../src/model/events.ts';
import { isRefusal } from '../../src/model/outcome.ts';
import type { HttpSpec, ServerSpec } from '../../src/model/snapshot.ts';
import { createEgress, type Egress } from '../../src/net/egress.ts';
import { createRuntime, type Runtime } from '../../src/runtime/runtime.ts';
import type { LaunchedServer } from '../../src/upstream/transport/streamable-http/http-transport-options.ts';
import { createHttpTransport } from '../../src/upstream/transport/streamable-http/streamable-http.ts';
import type { Transport } from '../../src/upstream/transport/transport.ts';

export interface Told {
  readonly kind: 'message' | 'failed' | 'unreadable' | 'alive' | 'phase' | 'lost' | 'closed' | 'learned' | 'unmatched';
  readonly id: number | undefined;
  readonly text: string;
  readonly fault?: HubError;
}

export interface HttpRig {
  readonly runtime: Runtime;
  readonly egress: Egress;
  readonly transport: Transport;
  readonly told: Told[];
  readonly facts: HubEvent[];
  /** Sends a request and waits for what becomes of it. */
  ask(method: string, params?: object): Promise<string>;
  /** Sends a request without waiting; the id. */
  begin(method: string, params?: object): number;
  notify(method: string, params?: object): void;
  /** initialize, negotiated, notifications/initialized. */
  shakeHands(): Promise<void>;
  /** Resolves when `test` holds; rejects after 8 s. */
  until(test: () => boolean, what: string): Promise<void>;
  close(): Promise<void>;
}

export interface HttpRigOptions {
  readonly limits?: Readonly<Record<string, number>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly launched?: LaunchedServer;
  readonly getStream?: false;
  /** The server asks its users. */
  readonly interactive?: boolean;
  /** Deadline of start; default 8 s. */
  readonly startMs?: number;
}

export async function httpRig(url: string, options: HttpRigOptions = {}): Promise<HttpRig> {
  const runtime = createRuntime();
  const limits = limitsFrom(options.limits ?? {});
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));
  const egress = createEgress({ runtime, limits, env: options.env ?? {} });
  const http: HttpSpec = {
    kind: 'http',
    url,
    headers: options.headers ?? {},
    launch: undefined,
    ...(options.getStream === false ? { getStream: false } : {}),
  };
  const told: Told[] = [];
  const waiting = new Map<number, { resolve(text: string): void; reject(fault: HubError | Told): void }>();
  const transport = createHttpTransport({
    runtime,
    limits,
    spec: { name: 'fault', slug: 'fault', transport: http, interactive: options.interactive ?? false } as ServerSpec,
    http,
    egress,
    launched: options.launched,
    events: {
      message(envelope, exchange) {
        const text = envelope.bytes.toString('utf8');
        told.push({ kind: 'message', id: exchange, text: text.length > 10_000 ? `${text.length} bytes` : text });
        const { id } = JSON.parse(text) as { readonly id?: number };
        if (envelope.kind === 'reply') take(exchange ?? id ?? -1)?.resolve(text);
      },
      failed(id, fault) {
        told.push({ kind: 'failed', id, text: fault.code, fault });
        take(id)?.reject(fault);
      },
      unmatched: () => told.push({ kind: 'unmatched', id: undefined, text: '' }),
      unreadable: (fault) => told.push({ kind: 'unreadable', id: undefined, text: fault.code, fault }),
      alive: (id) => told.push({ kind: 'alive', id, text: '' }),
      phase: (phase) => void told.push({ kind: 'phase', id: undefined, text: phase }),
      sessionLost(id) {
        const entry: Told = { kind: 'lost', id, text: '' };
        told.push(entry);
        if (id !== undefined) take(id)?.reject(entry);
      },
      closed: (fault) => told.push({ kind: 'closed', id: undefined, text: fault.code, fault }),
      said: () => {},
      question: () => void begin('ping'),
      learned: (note) => told.push({ kind: 'learned', id: undefined, text: note }),
    },
  });
  let next = 1;
  function take(id: number) {
    const found = waiting.get(id);
    waiting.delete(id);
    return found;
  }
  function frame(method: string, params: object | undefined, id: number | undefined): Buffer {
    return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
  }
  const begin = (method: string, params?: object): number => {
    const id = next;
    next += 1;
    const sent = transport.send(frame(method, params, id), id, runtime.deadline(30_000));
    if (isRefusal(sent)) throw sent;
    return id;
  };
  const ask = async (method: string, params?: object): Promise<string> => {
    const id = begin(method, params);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  };
  const notify = (method: string, params?: object): void => {
    const sent = transport.send(frame(method, params, undefined), undefined, runtime.deadline(5000));
    if (isRefusal(sent)) throw sent;
  };
  try {
    await transport.start(runtime.deadline(options.startMs ?? 8000));
  } catch (fault) {
    await transport.stop(runtime.deadline(1000));
    throw fault;
  }
  return {
    runtime,
    egress,
    transport,
    told,
    facts,
    ask,
    begin,
    notify,
    async shakeHands() {
      await ask('initialize', {
        protocolVersion: '2025-06-18',
        capabilities: {},
        clientInfo: { name: 'rig', version: '1' },
      });
      transport.negotiated('2025-06-18');
      notify('notifications/initialized');
    },
    async until(test, what) {
      const endMs = Date.now() + 8000;
      while (!test()) {
        if (Date.now() > endMs) throw new Error(`never: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async close() {
      await transport.stop(runtime.deadline(1000));
      await egress.close(runtime.deadline(1000));
    },
  };
}

export function callParams(name: string, given: object): object {
  return { name, arguments: given };
}

/**
 * Light load on a sandbox: repeated requests to `/health`, `tools/list` and a tool of a healthy server, and calls to
 * the fault server.
 * Guarantees: every request ends by the client's timeout and gives one sample; nothing runs after `during` has
 * resolved.
 */
import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Runtime } from '../runtime/runtime.ts';
import type { Sample } from './_faults.ts';

const PATIENCE_MS = 12_000;
const HEALTH_EVERY_MS = 50;
const LIST_EVERY_MS = 100;
const ECHO_EVERY_MS = 50;
const BROKEN_EVERY_MS = 300;
const BROKEN_CALLERS = 2;
/** No further call to the fault server is sent after one that took this long (ms). */
const LONG_MS = 1000;
/** Callers that fill the log while it is not read: enough lines for pipe and buffer. */
const HEAVY_CALLERS = 12;
const ANSWER_CHARS = 64 * 2 ** 20;

export interface Target {
  readonly port: number;
  readonly key: string;
  /** Exposed name of the healthy tool. */
  readonly echo: string;
}

export interface Load {
  readonly health: readonly Sample[];
  readonly list: readonly Sample[];
  readonly echo: readonly Sample[];
  readonly broken: readonly Sample[];
}

interface Asking {
  readonly runtime: Runtime;
  readonly agent: Agent;
  readonly target: Target;
  readonly bornMs: number;
  readonly signal: AbortSignal;
}

/** Sends load for `seconds`, and until the calls to `broken` (an exposed tool) have ended. */
export async function loadFor(
  runtime: Runtime,
  target: Target,
  options: {
    readonly seconds: number;
    readonly broken: string | undefined;
    readonly heavy: boolean;
    readonly signal: AbortSignal;
  },
): Promise<Load> {
  const agent = new Agent({ keepAlive: true });
  const asking: Asking = { runtime, agent, target, bornMs: performance.now(), signal: options.signal };
  const health: Sample[] = []; // bounded by: seconds
  const list: Sample[] = []; // bounded by: seconds
  const echo: Sample[] = []; // bounded by: seconds
  const broken: Sample[] = []; // bounded by: seconds
  const untilMs = asking.bornMs + options.seconds * 1000;
  let callersLeft = options.broken === undefined ? 0 : BROKEN_CALLERS;
  // Clients that were disconnected retry until they succeed, because this time is measured.
  const isServed = (): boolean => [health, list, echo].every((one) => one.at(-1)?.result === true);
  const goesOn = (): boolean =>
    !options.signal.aborted &&
    (performance.now() < untilMs || callersLeft > 0 || (!isServed() && performance.now() < untilMs + PATIENCE_MS));
  const again = async (to: Sample[], everyMs: number, ask: () => Promise<Sample>): Promise<void> => {
    while (goesOn()) {
      to.push(await ask());
      await pause(everyMs);
    }
  };
  const callBroken = async (tool: string): Promise<void> => {
    try {
      for (let lastMs = 0; performance.now() < untilMs && lastMs < LONG_MS && !options.signal.aborted; ) {
        const sample = await post(asking, 'tools/call', { name: tool, arguments: {} });
        broken.push(sample);
        lastMs = sample.ms;
        await pause(BROKEN_EVERY_MS);
      }
    } finally {
      callersLeft -= 1;
    }
  };
  const callEcho = (): Promise<Sample> => post(asking, 'tools/call', { name: target.echo, arguments: {} });
  await Promise.all([
    again(health, HEALTH_EVERY_MS, () => get(asking, '/health')),
    again(list, LIST_EVERY_MS, () => post(asking, 'tools/list', {})),
    again(echo, ECHO_EVERY_MS, callEcho),
    ...Array.from({ length: options.heavy ? HEAVY_CALLERS : 0 }, () => again(echo, 1, callEcho)),
    ...Array.from({ length: callersLeft }, () => callBroken(options.broken ?? '')),
  ]);
  agent.destroy();
  return { health, list, echo, broken };
}

/** Returns true when the tool is in the complete list. */
export async function hasTool(runtime: Runtime, target: Target, tool: string, signal: AbortSignal): Promise<boolean> {
  const agent = new Agent();
  const { words, text } = await exchange(
    { runtime, agent, target, bornMs: 0, signal },
    '/mcp',
    messageOf('tools/list', {}),
  );
  return words === undefined && text.includes(`"${tool}"`);
}

function get(asking: Asking, path: string): Promise<Sample> {
  return exchange(asking, path, undefined);
}

function post(asking: Asking, method: string, params: object): Promise<Sample> {
  return exchange(asking, '/mcp', messageOf(method, params));
}

function messageOf(method: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
}

interface Exchanged extends Sample {
  readonly text: string;
}

async function exchange(asking: Asking, path: string, body: string | undefined): Promise<Exchanged> {
  const { runtime, bornMs } = asking;
  const sentMs = performance.now();
  using deadline = runtime.deadline(PATIENCE_MS);
  const calledOff = (): void => deadline.end('cancelled');
  asking.signal.addEventListener('abort', calledOff, { once: true });
  const sample = (text: string, words: string | undefined, unanswered: boolean): Exchanged => ({
    atMs: sentMs - bornMs,
    ms: performance.now() - sentMs,
    result: words === undefined,
    words,
    unanswered,
    text,
  });
  try {
    const sent = send(asking, path, body, (stop) => deadline.onEnd(stop));
    const { status, text } = await runtime.waits.for(sent, { label: 'hub-ask', owner: path, deadline });
    return sample(text, wordsFrom(status, text, body !== undefined), false);
  } catch (fault) {
    const unanswered = deadline.ended === 'time-up';
    return sample('', unanswered ? `no answer within ${PATIENCE_MS} ms` : cutWords(fault), unanswered);
  } finally {
    asking.signal.removeEventListener('abort', calledOff);
  }
}

function send(
  { agent, target }: Asking,
  path: string,
  body: string | undefined,
  onEnd: (stop: () => void) => void,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const { port, key } = target;
    const length = { 'content-length': Buffer.byteLength(body ?? '') };
    const typed = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const headers = body === undefined ? length : { ...length, ...typed };
    const method = body === undefined ? 'GET' : 'POST';
    const sent = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        if (text.length < ANSWER_CHARS) text += chunk;
      });
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    onEnd(() => sent.destroy());
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Returns what was received instead of a result, or undefined for a normal result. */
function wordsFrom(status: number, text: string, isRpc: boolean): string | undefined {
  if (!isRpc) return status === 200 ? undefined : `status ${status}`;
  try {
    const { result, error } = JSON.parse(text) as { result?: { isError?: boolean }; error?: { message?: string } };
    if (error) return error.message ?? `an error without a message, status ${status}`;
    if (result?.isError) return 'the tool returned isError';
    return result ? undefined : `status ${status}`;
  } catch {
    return `status ${status}, not JSON`;
  }
}

function cutWords(fault: unknown): string {
  return `the connection was closed (${(fault as NodeJS.ErrnoException).code ?? 'no reason'})`;
}

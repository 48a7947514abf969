/**
 * Asks the control process over its private sockets, as any process of the same user can.
 */
import { request } from 'node:http';
import { join } from 'node:path';
import type { RunningHub } from './hub.ts';

export interface UnixSocketResponse {
  readonly status: number;
  readonly body: unknown;
}

/** One request to a socket of the run directory. Ends by 5 s. */
export function requestUnixSocket(
  hub: RunningHub,
  socket: string,
  asked: {
    readonly method: string;
    readonly path: string;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
  },
): Promise<UnixSocketResponse> {
  const payload = asked.body === undefined ? '' : JSON.stringify(asked.body);
  return new Promise((resolve, reject) => {
    const sent = request({
      socketPath: join(hub.dataDir, 'run', socket),
      method: asked.method,
      path: asked.path,
      headers: { host: 'localhost', 'content-length': Buffer.byteLength(payload), ...asked.headers },
      agent: false,
      timeout: 5000,
    });
    sent.on('timeout', () => sent.destroy(new Error(`${socket} did not answer ${asked.path}`)));
    sent.on('error', reject);
    sent.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text === '' ? undefined : parsed(text) }));
      answer.on('error', reject);
    });
    sent.end(payload);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The body of the operator's answer; throws on a status of 400 and more. */
export async function askOperator<T>(hub: RunningHub, method: string, path: string, body?: unknown): Promise<T> {
  const answer = await requestUnixSocket(hub, 'control.sock', { method, path, body });
  if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body as T;
}

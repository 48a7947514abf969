/**
 * Sends one request to another process of this hub over its private unix socket.
 * Guarantees: settles by `deadline`, and the connection is closed then; reads at most
 * `maxBytes` of the response.
 */
import { request } from 'node:http';
import type { Deadline } from '../runtime/deadline.ts';

export interface UnixSocketRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  /** JSON text; default no body. */
  readonly body?: string | undefined;
}

export interface UnixSocketResponse {
  readonly status: number;
  readonly text: string;
}

/**
 * Returns the complete response, whatever its status. Rejects with the error of the connection, or when the response is
 * truncated or too large.
 */
export function requestUnixSocket(
  socketPath: string,
  { method, path, body = '' }: UnixSocketRequest,
  { deadline, maxBytes }: { readonly deadline: Deadline; readonly maxBytes: number },
): Promise<UnixSocketResponse> {
  return new Promise((resolve, reject) => {
    const headers = {
      host: 'localhost',
      'content-length': Buffer.byteLength(body),
      ...(body === '' ? {} : { 'content-type': 'application/json' }),
    };
    const sent = request({ socketPath, method, path, headers, agent: false });
    deadline.onEnd(() => void sent.destroy());
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = []; // bounded by: maxBytes
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 500, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    sent.end(body);
  });
}

/** Returns whether a request failed because no process listens on the socket. */
export function isAbsent(fault: unknown): boolean {
  return fault instanceof Error && 'code' in fault && (fault.code === 'ENOENT' || fault.code === 'ECONNREFUSED');
}

/**
 * HTTP CONNECT: writes the request to a proxy and reads the status of its response. `_connector.ts` owns the socket and
 * the deadline.
 * Guarantees: reads at most 16 KiB; calls back once; bytes after the response stay in the socket.
 */
import type { Socket } from 'node:net';

const MAX_ANSWER_BYTES = 16 * 1024;

export function tunnelRequest(host: string, port: number, authorization: string | undefined): string {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const login = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`;
}

/** Passes the status to `done`; 0 when the response is not HTTP or too long. */
export function readTunnelAnswer(socket: Socket, done: (status: number) => void): void {
  let head = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0 && head.length <= MAX_ANSWER_BYTES) return;
    socket.off('data', onData);
    socket.pause();
    const status = end < 0 ? undefined : /^HTTP\/1\.[01] (\d{3})[ \r]/.exec(head.toString('latin1', 0, 32));
    if (end >= 0 && head.length > end + 4) socket.unshift(head.subarray(end + 4));
    done(status ? Number(status[1]) : 0);
  };
  socket.on('data', onData);
}

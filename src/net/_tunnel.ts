/**
 * The words of HTTP CONNECT: what is written to a proxy, and its answer's status.
 * Promises: reads at most 16 KiB; calls back once; bytes that came after the answer stay in the socket.
 * Does not: own the socket or a deadline (`_connector.ts` does).
 */
import type { Socket } from 'node:net';

const MAX_ANSWER_BYTES = 16 * 1024;

export function tunnelRequest(host: string, port: number, authorization: string | undefined): string {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const login = authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`;
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`;
}

/** `done` gets the status, or 0 when the answer is not HTTP or too long. */
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

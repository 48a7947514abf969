/**
 * A server that keeps every byte it gets and answers each request with `{}`, and a strict reading of those bytes.
 * The reading accepts one framing only, a `content-length`; whatever else stands on the wire is an error.
 */
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface OnwardRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Recorder extends AsyncDisposable {
  /** Of a TCP listener; 0 for a unix socket. */
  readonly port: number;
  /** What each connection sent, read strictly; throws for bytes that are no request with a `content-length`. */
  requests(): OnwardRequest[];
}

const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}';

/** Listens on a unix socket, or on a free port of loopback. */
export async function startRecorder(path?: string): Promise<Recorder> {
  const sent: string[] = [];
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    const at = sent.push('') - 1;
    let answered = 0;
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.on('data', (chunk) => {
      sent[at] += chunk.toString('latin1');
      const whole = readStrictly(sent[at] ?? '').requests;
      for (; answered < whole.length; answered += 1)
        socket.write(whole[answered]?.method === 'HEAD' ? ANSWER.slice(0, -2) : ANSWER);
    });
  });
  await new Promise<void>((resolve) => {
    if (path === undefined) server.listen(0, '127.0.0.1', resolve);
    else server.listen(path, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' ? ((address as AddressInfo | null)?.port ?? 0) : 0,
    requests: () =>
      sent.flatMap((bytes) => {
        const { requests, rest } = readStrictly(bytes);
        if (rest !== '') throw new Error(`bytes that are no whole request: ${JSON.stringify(rest.slice(0, 300))}`);
        return requests;
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function readStrictly(bytes: string): { requests: OnwardRequest[]; rest: string } {
  const requests: OnwardRequest[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return { requests, rest };
    const [line = '', ...fields] = rest.slice(0, end).split('\r\n');
    const [method = '', path = ''] = line.split(' ');
    const headers = Object.fromEntries(
      fields.map((field) => [
        field.slice(0, field.indexOf(':')).toLowerCase(),
        field.slice(field.indexOf(':') + 1).trim(),
      ]),
    );
    const length = Number(headers['content-length'] ?? 0);
    if (rest.length < end + 4 + length) return { requests, rest };
    requests.push({ method, path, headers, body: rest.slice(end + 4, end + 4 + length) });
    rest = rest.slice(end + 4 + length);
  }
}

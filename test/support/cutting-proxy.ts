/**
 * A TCP proxy on 127.0.0.1 whose connections are cut at will: what a sleeping laptop or a proxy with an idle limit does
 * to a client.
 * Promises: a cut closes both ends at once; new connections are taken all the time; bytes pass as they are.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface CuttingProxy extends AsyncDisposable {
  readonly port: number;
  /** Heads of the requests that came, as far as one lies in one piece. */
  readonly heads: readonly string[];
  /** Event streams that the server has begun, as far as the head of the response lies in one piece. */
  readonly streams: number;
  /** Cuts every connection that is open; how many these were. */
  cut(): number;
}

export async function startCuttingProxy(port: number): Promise<CuttingProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const heads: string[] = [];
  let streams = 0;
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    const pair = [near, far] as const;
    pairs.add(pair);
    near.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      if (/^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(text)) heads.push(text.split('\r\n\r\n', 1)[0] ?? '');
    });
    far.on('data', (chunk) => {
      if (/^HTTP\/1\.1 200 [\s\S]*?\r\ncontent-type: text\/event-stream\r\n/i.test(chunk.toString('latin1')))
        streams += 1;
    });
    for (const socket of pair) {
      socket.on('error', () => {});
      socket.on('close', () => {
        pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): number => {
    const open = [...pairs];
    for (const [near, far] of open) {
      near.destroy();
      far.destroy();
    }
    return open.length;
  };
  return {
    port: (server.address() as AddressInfo).port,
    heads,
    get streams() {
      return streams;
    },
    cut,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      cut();
      await closed;
    },
  };
}

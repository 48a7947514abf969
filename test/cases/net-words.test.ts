// runs: in pairs
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createTcp, type Socket, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';

const folder = mkdtempSync(join(tmpdir(), 'net-words-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const inFolder = (name: string): string => join(folder, name);
const openssl = (...args: string[]): unknown => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });

/** An authority, or a certificate that is its own. */
function selfSigned(name: string, names: string): void {
  openssl(
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`],
    ...['-keyout', `${name}.key`, '-out', `${name}.pem`, '-addext', `subjectAltName=${names}`],
  );
}

function signed(name: string, by: string, names: string, days = '2'): void {
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
  );
  writeFileSync(inFolder(`${name}.ext`), `subjectAltName=${names}\n`);
  openssl(
    ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${by}.pem`, '-CAkey', `${by}.key`, '-CAcreateserial'],
    ...['-days', days, '-extfile', `${name}.ext`, '-out', `${name}.pem`],
  );
}

const servers: (Server | TcpServer)[] = [];
after(() => {
  for (const server of servers) server.close();
});

async function listen(server: Server | TcpServer): Promise<number> {
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

const mcp = (_: unknown, response: { writeHead(status: number): { end(): void } }): void =>
  response.writeHead(418).end();

function secure(name: string): Promise<number> {
  return listen(
    createHttps({ key: readFileSync(inFolder(`${name}.key`)), cert: readFileSync(inFolder(`${name}.pem`)) }, mcp),
  );
}

/** What nginx, Apache and Go answer to plain HTTP on a TLS port. */
function tlsWithPage(): TcpServer {
  return sniffing((socket) =>
    socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'),
  );
}

/** A fatal alert, as OpenSSL sends it. */
function tlsWithAlert(): TcpServer {
  return sniffing((socket) => socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 0x46])));
}

/** Speaks TLS to who begins with it; `plain` answers others. */
function sniffing(plain: (socket: Socket) => void): TcpServer {
  const key = readFileSync(inFolder('own.key'));
  const inner = createHttps({ key, cert: readFileSync(inFolder('own.pem')) }, mcp);
  return createTcp((socket) => {
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => {
      if (first[0] !== 0x16) return plain(socket);
      socket.pause();
      socket.unshift(first);
      inner.emit('connection', socket);
    });
  });
}

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
type Loose = any;

describe('a server that cannot be connected to', () => {
  let hub: RunningHub;
  const expected: Record<string, RegExp> = {};

  before(async () => {
    selfSigned('trusted', 'DNS:trusted.test');
    selfSigned('foreign', 'DNS:foreign.test');
    selfSigned('own', 'DNS:localhost');
    signed('expired', 'trusted', 'DNS:localhost', '-1');
    signed('named', 'trusted', 'DNS:other.test');
    signed('issued', 'foreign', 'DNS:localhost');
    signed('good', 'trusted', 'DNS:localhost');
    const urls: Record<string, string> = {};
    for (const name of ['own', 'expired', 'named', 'issued', 'good'])
      urls[name] = `https://localhost:${await secure(name)}`;
    urls.plain = `https://localhost:${await listen(createHttp(mcp))}`;
    const closed = createTcp();
    const port = await listen(closed);
    await new Promise((done) => closed.close(done));
    urls.refused = `http://localhost:${port}`;
    urls.closes = `http://localhost:${await secure('own')}`;
    urls.page = `http://localhost:${await listen(tlsWithPage())}`;
    urls.alert = `http://localhost:${await listen(tlsWithAlert())}`;
    // It is no TLS behind which a plain server answers with 400 and a page.
    urls.other = `http://localhost:${await listen(createHttp((_, response) => response.writeHead(400).end('<p>no')))}`;
    const mute = await listen(createTcp((socket) => socket.on('error', () => {}).resume()));
    urls.mute = `http://localhost:${mute}`;
    urls.slow = `https://localhost:${mute}`;
    const of = (name: string, words: string): RegExp =>
      new RegExp(`${(urls[name] as string).replace(/^.*\/\//, '')}${words}`);
    Object.assign(expected, {
      own: of('own', ' failed: its certificate is self-signed .* into the file that MCPHUB_CA_FILE names'),
      expired: of('expired', ' failed: its certificate has expired '),
      named: of('named', ' failed: its certificate is for other names \\(DNS:other\\.test\\) .*in "url"'),
      issued: of('issued', ' failed: its certificate comes from an authority .*MCPHUB_CA_FILE'),
      plain: of('plain', ' failed: it does not use TLS on this port .*use http:// in "url"'),
      ...Object.fromEntries(['closes', 'page', 'alert'].map((name) => [name, of(name, ': use https:// in "url"')])),
      other: /HTTP 400 to POST http:\/\/localhost.* Its response: <p>no/,
      refused: of('refused', `: 127\\.0\\.0\\.1:${port} refused the connection \\(ECONNREFUSED\\)`),
      mute: new RegExp(`did not finish initialize .*POST http://localhost:${mute}/mcp went to 127\\.0\\.0\\.1:${mute}`),
      slow: of(
        'slow',
        ' \\(tried 127\\.0\\.0\\.1:\\d+\\) did not finish within 1000 ms; the setting connectMs allows more',
      ),
      // Its certificate is trusted; what it answers is no MCP.
      good: /HTTP 418 to POST https:\/\/localhost/,
    });
    const entries = Object.entries(urls).map(([name, url]) => [name, { type: 'http', url: `${url}/mcp` }]);
    const env = { MCPHUB_CA_FILE: inFolder('trusted.pem'), MCPHUB_CONNECT_MS: '1000', MCPHUB_HANDSHAKE_MS: '2000' };
    hub = await startHub({ config: { mcpServers: Object.fromEntries(entries) }, env });
  });
  after(() => hub?.[Symbol.asyncDispose]());

  // case: SV62, SV64
  test('names host, address, reason and the setting that helps, in status and log', async () => {
    for (const [name, words] of Object.entries(expected)) {
      // On a busy machine the first attempts may run out of time before the reason is known.
      let cause = '';
      const isKnown = async (): Promise<boolean> => {
        cause = (await rowOf(hub, name)).cause ?? '';
        return words.test(cause);
      };
      await until(isKnown, 20_000).catch(() => assert.match(cause, words, name));
      const told = () =>
        hub.lines.some(
          ({ event, upstream, msg }) => event === 'server-was-lost' && upstream === name && words.test(String(msg)),
        );
      await until(told, 10_000, `the log tells it of ${name}`);
    }
  });
});

// case: SV64
test('a file of authorities that cannot be used is refused at start, with its name and the reason', async () => {
  writeFileSync(inFolder('text.pem'), 'no certificate');
  const files = {
    [inFolder('none.pem')]: /none\.pem\) is not there/,
    [inFolder('text.pem')]: /has no PEM certificate/,
  };
  await Promise.all(
    Object.entries(files).map(async ([file, words]) => {
      const hub = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_CA_FILE: file }, noWait: true });
      try {
        assert.equal(await hub.exited, 78);
        assert.match(hub.log, words);
      } finally {
        await hub[Symbol.asyncDispose]();
      }
    }),
  );
});

async function rowOf(hub: RunningHub, name: string): Promise<Loose> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  return ((await answer.json()) as { servers: Loose[] }).servers.find((row) => row.name === name);
}

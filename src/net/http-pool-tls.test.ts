import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { ask, type RawRequest, type RawServer, reply, startRawServer } from '../../test/support/raw-http.ts';
import { limitsFrom } from '../config/limits.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { createEgress, type EgressPool } from './egress.ts';
import { isConnectionLoss } from './errors.ts';

const folder = mkdtempSync(join(tmpdir(), 'pool-tls-'));
after(() => rmSync(folder, { recursive: true }));
const certFile = join(folder, 'cert.pem');
const keyFile = join(folder, 'key.pem');
execFileSync(
  'openssl',
  ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=secure.test'].concat(
    ['-keyout', keyFile, '-out', certFile],
    ['-addext', 'subjectAltName=DNS:secure.test,DNS:localhost,DNS:other.test'],
  ),
  { stdio: 'ignore' },
);
const tls = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
const echo = ({ socket, body }: RawRequest): boolean => socket.write(reply(body));

/** Returns the server name that the TLS handshake of the first request asked for. */
function nameAsked({ requests }: RawServer): unknown {
  const socket = requests[0]?.socket;
  assert.ok(socket instanceof TLSSocket);
  return 'servername' in socket ? socket.servername : undefined;
}

async function withPool(
  server: RawServer,
  url: string,
  env: Readonly<Record<string, string>>,
  run: (pool: EgressPool) => Promise<void>,
  connections = 4,
): Promise<void> {
  const runtime = createRuntime();
  const egress = createEgress({
    runtime,
    limits: limitsFrom({ connectMs: 2000 }),
    env: { MCPHUB_CA_FILE: certFile, ...env },
  });
  try {
    await run(egress.open(new URL(url), { owner: 'docs', connections, addresses: 'any' }));
    await egress.close(runtime.deadline(1000));
    assert.equal(runtime.waits.size, 0);
  } finally {
    await egress.close(runtime.deadline(1000));
    await server.close();
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 8000;
  while (!holds()) {
    assert.equal(performance.now() < endMs, true, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('over TLS: one connection for many requests, bodies of every size, another Host names another certificate', async () => {
  const server = await startRawServer(echo, { tls });
  await withPool(server, `https://localhost:${server.port}/`, {}, async (pool) => {
    for (const bytes of [1, 16 * 1024 + 1, 3_000_000]) {
      const body = randomBytes(bytes);
      assert.equal((await ask(pool, { method: 'POST', body }).body).equals(body), true, `${bytes} bytes`);
    }
    assert.equal(server.connections, 1);
    assert.equal(nameAsked(server), 'localhost');
  });
  const other = await startRawServer(echo, { tls });
  await withPool(other, `https://127.0.0.1:${other.port}/`, {}, async (pool) => {
    await assert.rejects(ask(pool).body, { code: 'upstream-tls' }, 'the certificate is not the address’s');
    await ask(pool, { headers: ['Host', 'other.test:8443'] }).body;
    assert.equal(nameAsked(other), 'other.test');
  });
});

test('over TLS: what is handed on may be kept, a pause holds the server back, a loss is a loss', async () => {
  const big = randomBytes(20_000_000);
  let cuts = false;
  const answer = ({ socket }: RawRequest): unknown =>
    cuts ? socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf') : socket.write(reply(big));
  const server = await startRawServer(answer, { tls });
  await withPool(server, `https://localhost:${server.port}/`, {}, async (pool) => {
    const asked = ask(pool, {
      on: (event, controller) => {
        if (event === 'data' && asked.bytes() < 500_000) controller.pause();
      },
    });
    await until(() => asked.heard.includes('data'), 'data');
    let still = -1;
    await until(() => {
      const left = server.requests[0]?.socket.writableLength ?? 0;
      const stands = left === still;
      still = left;
      return stands;
    }, 'standstill');
    assert.equal(still > 0, true, 'the server is held back');
    while (asked.bytes() < 500_000) {
      const seen = asked.heard.length;
      asked.controller.resume();
      await until(() => asked.heard.length > seen, 'the next piece');
    }
    const sum = createHash('sha256').update(await asked.body);
    assert.equal(sum.digest('hex'), createHash('sha256').update(big).digest('hex'));
    cuts = true;
    await assert.rejects(ask(pool).body, (fault) => isConnectionLoss(fault));
    assert.equal(server.connections, 1);
  });
});

test('through a proxy’s tunnel, plain or TLS, one connection carries many requests', async () => {
  for (const secure of [false, true]) {
    const target = await startRawServer(echo, { tls });
    const seen: string[] = [];
    const proxy = await startRawServer(
      ({ line, socket }) => {
        seen.push(line);
        const onward = connect(target.port, '127.0.0.1', () => {
          socket.removeAllListeners('data');
          socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
          onward.pipe(socket).pipe(onward);
        });
        for (const end of [onward, socket]) end.on('error', () => {}).on('close', () => onward.destroy());
      },
      secure ? { tls } : {},
    );
    const env = { HTTPS_PROXY: `${secure ? 'https' : 'http'}://localhost:${proxy.port}` };
    await withPool(target, 'https://secure.test/', env, async (pool) => {
      for (const text of ['one', 'two']) {
        const body = Buffer.from(text);
        assert.equal((await ask(pool, { method: 'POST', body }).body).toString(), text);
      }
      assert.deepEqual(seen, ['CONNECT secure.test:443 HTTP/1.1']);
      assert.equal(target.connections, 1);
    });
    await proxy.close();
  }
});

test('through a plain proxy, itself by TLS or not, http is asked for whole', async () => {
  for (const secure of [false, true]) {
    const proxy = await startRawServer(echo, secure ? { tls } : {});
    const env = { http_proxy: `${secure ? 'https' : 'http'}://me:pw@localhost:${proxy.port}` };
    await withPool(proxy, 'http://plain.test:81/x', env, async (pool) => {
      const path = pool.pathOf(new URL('http://plain.test:81/x?y=1'));
      for (let turn = 0; turn < 2; turn += 1) {
        const body = randomBytes(100_000);
        const back = await ask(pool, { method: 'POST', path, headers: [...pool.headers], body }).body;
        assert.equal(back.equals(body), true);
      }
      assert.match(
        proxy.requests[0]?.head ?? '',
        /^POST http:\/\/plain\.test:81\/x\?y=1 HTTP\/1\.1\r\nhost: plain\.test:81\r\n/,
      );
      assert.match(proxy.requests[0]?.head ?? '', /\r\nproxy-authorization: Basic bWU6cHc=\r\n/);
      assert.equal(proxy.connections, 1);
    });
  }
});

test('an end that comes during a pause is told after it, and its connection is not given to the next', async () => {
  for (const length of ['', 'content-length: 5\r\n']) {
    const answer = (request: RawRequest): unknown =>
      request.body.length > 0 ? echo(request) : request.socket.end(`HTTP/1.1 200 OK\r\n${length}\r\nwhole`);
    const server = await startRawServer(answer, { tls });
    const run = async (pool: EgressPool): Promise<void> => {
      const asked = ask(pool, { on: (event, controller) => event === 'data' && controller.pause() });
      await until(() => asked.heard.includes('data'), 'data');
      await until(() => server.open.size === 0, 'the connection is closed on both sides');
      const next = ask(pool, { method: 'POST', body: Buffer.from('next') });
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual([asked.heard, next.heard], [['start', 'status', 'data'], []]);
      asked.controller.resume();
      assert.deepEqual(asked.heard, ['start', 'status', 'data', 'end']);
      assert.equal((await asked.body).toString(), 'whole');
      assert.equal((await next.body).toString(), 'next');
      assert.equal(server.connections, 2);
    };
    await withPool(server, `https://localhost:${server.port}/`, {}, run, 1);
  }
});

test('closing ends attempts to connect, too', async () => {
  const mute = await startRawServer(() => {});
  const runtime = createRuntime();
  const egress = createEgress({ runtime, limits: limitsFrom({ connectMs: 60_000 }), env: {} });
  const url = new URL(`https://127.0.0.1:${mute.port}/`);
  const pool = egress.open(url, { owner: 'docs', connections: 4, addresses: 'any' });
  const asked = [ask(pool), ask(pool)];
  await until(() => mute.open.size === 2, 'connected, without a hello');
  await egress.close(runtime.deadline(1000));
  assert.equal(runtime.waits.size, 0);
  for (const { heard, body } of asked) {
    assert.deepEqual(heard, ['error']);
    await assert.rejects(body, { code: 'server-down' });
  }
  await until(() => mute.open.size === 0, 'closed');
  await mute.close();
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { proxyRuleFrom } from './_proxy.ts';
import { createEgress, type EgressPool } from './egress.ts';
import { checkEgressEnvironment } from './egress-environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'egress-'));
after(() => rmSync(folder, { recursive: true }));
const certFile = join(folder, 'cert.pem');
const keyFile = join(folder, 'key.pem');
execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=secure.test',
    '-keyout',
    keyFile,
    '-out',
    certFile,
  ].concat(['-addext', 'subjectAltName=DNS:secure.test,DNS:localhost']),
  { stdio: 'ignore' },
);

interface Answer {
  readonly status: number;
  readonly body: string;
}

function get(pool: EgressPool, url: URL): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let status = 0;
    let body = '';
    pool.dispatch(
      { method: 'GET', path: pool.pathOf(url), headers: [...pool.headers], body: null },
      {
        onRequestStart: () => {},
        onResponseStart: (_, code) => {
          status = code;
        },
        onResponseData: (_, chunk) => {
          body += chunk.toString();
        },
        onResponseEnd: () => resolve({ status, body }),
        onResponseError: (_, fault) => reject(fault),
      },
    );
  });
}

function rig(env: Record<string, string> = {}, connectMs = 400) {
  const runtime = createRuntime();
  const egress = createEgress({ runtime, limits: limitsFrom({ connectMs }), env });
  const open = (url: string) => egress.open(new URL(url), { owner: 'docs', connections: 32, addresses: 'any' });
  return { runtime, egress, open, close: () => egress.close(runtime.deadline(1000)) };
}

async function listening(server: {
  listen(port: number, host: string, done: () => void): unknown;
  address(): unknown;
}) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function secureServer(): Server {
  const options = { key: readFileSync(keyFile), cert: readFileSync(certFile) };
  return createHttpsServer(options, (_request, response) => response.end('safe'));
}

// row A7 · guards src/net/_connector.ts
test('A7: a server that never says hello fails by name within connectMs, and the pool serves others meanwhile', async () => {
  const sockets: Socket[] = [];
  const silent = createTcpServer((socket) => sockets.push(socket.on('error', () => {})));
  const silentPort = await listening(silent);
  const good = createHttpServer((_request, response) => response.end('ok'));
  const goodPort = await listening(good);
  const one = rig();
  const startedMs = performance.now();
  const pool = one.open(`https://127.0.0.1:${silentPort}/`);
  const url = new URL(`https://127.0.0.1:${silentPort}/`);
  const calls = Array.from({ length: 20 }, () => assert.rejects(get(pool, url), { code: 'upstream-tls' }));
  const answer = await get(one.open(`http://127.0.0.1:${goodPort}/`), new URL(`http://127.0.0.1:${goodPort}/`));
  assert.equal(answer.body, 'ok');
  assert.equal(performance.now() - startedMs < 300, true);
  await Promise.all(calls);
  assert.equal(performance.now() - startedMs < 1500, true);
  await one.close();
  for (const socket of sockets) socket.destroy();
  silent.close();
  good.close();
});

test('a refused connection is named, with server, phase and that nothing was executed', async () => {
  const free = createTcpServer();
  const port = await listening(free);
  await new Promise((resolve) => free.close(resolve));
  const one = rig();
  const url = new URL(`http://localhost:${port}/`);
  await assert.rejects(get(one.open(url.href), url), (fault) => {
    assert.ok(fault instanceof HubError);
    assert.equal(fault.code, 'upstream-connect');
    assert.equal(fault.detail.server, 'docs');
    assert.equal(fault.detail.reason, 'ECONNREFUSED');
    assert.equal(fault.detail.outcome, 'not-executed');
    return true;
  });
  await one.close();
});

test('S32: a self-signed certificate is refused, and trusted through MCPHUB_CA_FILE', async () => {
  const server = secureServer();
  const port = await listening(server);
  const url = new URL(`https://localhost:${port}/`);
  const strict = rig({}, 2000);
  await assert.rejects(get(strict.open(url.href), url), { code: 'upstream-tls' });
  const trusting = rig({ MCPHUB_CA_FILE: certFile }, 2000);
  assert.equal((await get(trusting.open(url.href), url)).body, 'safe');
  const byAddress = new URL(`https://127.0.0.1:${port}/`);
  await assert.rejects(get(trusting.open(byAddress.href), byAddress), { code: 'upstream-tls' }, 'another name');
  await strict.close();
  await trusting.close();
  server.close();
});

test('a CA file that breaks while the hub runs weakens nothing, and is in use again once it is whole', async () => {
  const server = secureServer();
  const url = new URL(`https://localhost:${await listening(server)}/`);
  const file = join(folder, 'changes.pem');
  writeFileSync(file, 'nothing yet');
  const one = rig({ MCPHUB_CA_FILE: file }, 2000);
  await assert.rejects(get(one.open(url.href), url), {
    code: 'upstream-tls',
    message: /self-signed.*MCPHUB_CA_FILE is not in use: .*no PEM certificate/,
  });
  writeFileSync(file, readFileSync(certFile));
  let isTrusted = false;
  for (let tries = 0; tries < 100 && !isTrusted; tries += 1)
    isTrusted = await get(one.open(url.href), url).then(
      () => true,
      () => false,
    );
  assert.ok(isTrusted, 'it is read again');
  writeFileSync(file, 'broken');
  for (let tries = 0; tries < 5; tries += 1) assert.equal((await get(one.open(url.href), url)).body, 'safe');
  await one.close();
  server.close();
});

test('a CA file that is no PEM and a proxy that is no http URL are refused at boot', () => {
  const noPem = join(folder, 'no.pem');
  writeFileSync(noPem, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  const wrong = { [join(folder, 'none.pem')]: /is not there/, [folder]: /not a plain file/, [noPem]: /number 1/ };
  for (const [file, message] of Object.entries({ ...wrong, '/dev/null': /not a plain file/ }))
    assert.throws(() => checkEgressEnvironment({ MCPHUB_CA_FILE: file }), { code: 'config-invalid', message });
  checkEgressEnvironment({ MCPHUB_CA_FILE: certFile });
  assert.throws(() => rig({ HTTPS_PROXY: 'socks5://127.0.0.1:1080' }), { code: 'config-invalid' });
});

test('https goes through the proxy’s tunnel, http as an absolute path, and the login is sent', async () => {
  const target = secureServer();
  const targetPort = await listening(target);
  const seen: string[] = [];
  const proxy = createHttpServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers['proxy-authorization']}`);
    response.end('forwarded');
  });
  proxy.on('connect', (request, socket: Socket) => {
    seen.push(`CONNECT ${request.url} ${request.headers['proxy-authorization']}`);
    const onward = connect(targetPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [onward, socket]) end.on('error', () => {});
  });
  const address = `http://me:se%20cret@127.0.0.1:${await listening(proxy)}`;
  const one = rig({ HTTPS_PROXY: address, http_proxy: address, MCPHUB_CA_FILE: certFile }, 2000);
  const safe = new URL('https://secure.test/x?y=1');
  assert.equal((await get(one.open(safe.href), safe)).body, 'safe');
  const plain = new URL('http://plain.test/x?y=1');
  assert.equal((await get(one.open(plain.href), plain)).body, 'forwarded');
  const login = `Basic ${Buffer.from('me:se cret').toString('base64')}`;
  assert.deepEqual(seen, [`CONNECT secure.test:443 ${login}`, `GET http://plain.test/x?y=1 plain.test ${login}`]);
  await one.close();
  proxy.closeAllConnections();
  proxy.close();
  target.close();
});

test('a proxy that refuses or never answers is named as the proxy', async () => {
  let answer: string | undefined = 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n';
  const sockets: Socket[] = [];
  const proxy = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    if (answer !== undefined) socket.once('data', () => socket.write(answer ?? ''));
  });
  const one = rig({ HTTPS_PROXY: `http://127.0.0.1:${await listening(proxy)}` });
  const url = new URL('https://secure.test/');
  await assert.rejects(get(one.open(url.href), url), (fault) => {
    assert.ok(fault instanceof HubError);
    assert.deepEqual([fault.code, fault.detail.phase, fault.detail.status], ['upstream-connect', 'proxy', 407]);
    return true;
  });
  answer = undefined;
  await assert.rejects(get(one.open(url.href), url), (fault) => {
    assert.ok(fault instanceof HubError);
    assert.deepEqual(
      [fault.code, fault.detail.phase, fault.detail.setting],
      ['upstream-connect', 'proxy', 'connectMs'],
    );
    return true;
  });
  await one.close();
  for (const socket of sockets) socket.destroy();
  proxy.close();
});

test('NO_PROXY names hosts, domains, ports and everything; loopback never goes through a proxy', () => {
  const env = { HTTP_PROXY: 'http://p:1', no_proxy: 'one.test, .two.test,*.three.test three:8080,[2001:db8::1]:443' };
  const rule = proxyRuleFrom(env);
  const direct = (url: string): boolean => rule(new URL(url)) === undefined;
  for (const url of [
    'http://one.test/',
    'http://a.one.test/',
    'http://a.two.test/',
    'http://b.three.test/',
    'http://three:8080/',
  ])
    assert.equal(direct(url), true, url);
  for (const url of ['http://localhost/', 'http://127.9.9.9/', 'http://[::1]/']) assert.equal(direct(url), true, url);
  for (const url of ['http://none.test/', 'http://three:81/', 'http://[2001:db8::1]/'])
    assert.equal(direct(url), false, url);
  assert.equal(proxyRuleFrom({ HTTP_PROXY: 'p:1', NO_PROXY: '*' })(new URL('http://x.test/')), undefined);
  assert.equal(rule(new URL('https://none.test/')), undefined, 'each scheme has its own proxy');
});

test('S12: addresses of metadata services are refused before a packet is sent', async () => {
  const one = rig();
  for (const host of ['169.254.169.254', '[::ffff:a9fe:a9fe]', '2852039166', '0xa9fea9fe']) {
    const url = new URL(`http://${host}/latest/`);
    await assert.rejects(get(one.open(url.href), url), (fault) => {
      assert.ok(fault instanceof HubError);
      assert.equal(fault.detail.reason, 'address-refused', host);
      return true;
    });
  }
  await one.close();
});

test('only http and https have a way out', () => {
  const one = rig();
  for (const url of ['ftp://x.test/', 'file:///x']) assert.throws(() => one.open(url), { code: 'config-invalid' });
});

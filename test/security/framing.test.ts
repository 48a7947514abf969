/**
 * SR-C1: a request's body never becomes a request of its own, whatever method and framing carry it.
 * Each body here is a request that would create or revoke a key if it reached the control process.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { KeyMade, StatusAnswer } from '../../src/admin/contract.ts';
import { type RunningHub, startHub, statusOf, until } from '../support/hub.ts';
import { startNginx } from '../support/nginx.ts';
import { askOperator, requestUnixSocket } from '../support/operator.ts';
import { rawExchange } from '../support/raw-client.ts';

const METHODS = ['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'POST', 'PUT', 'PATCH', 'PROPFIND'] as const;
const FRAMINGS = ['none', 'content-length', 'chunked', 'trailers', 'http/1.0', 'pipelined'] as const;
const PATHS = ['/', '/?x=1', '/health', '/readyz', '/api/health', '/api/keys', '/api/status', '/mcp', '/none'] as const;
const WISH = '{"user":"evil","name":"x","role":"owner"}';
const CREATE = `POST /api/keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${WISH.length}\r\n\r\n${WISH}`;

let hub: RunningHub;
before(async () => {
  // Refusals by the key and not by the rate.
  const env = { MCPHUB_ADDRESS_PER_SECOND: '100000', MCPHUB_FAILED_KEYS_PER_MINUTE: '10000' };
  hub = await startHub({ config: { mcpServers: {} }, env, args: ['--workers', '2'] });
});
after(async () => {
  await hub[Symbol.asyncDispose]();
});

type Framing = (typeof FRAMINGS)[number];

/** The request as it goes over the wire, in pieces, and how many requests it is. */
function wire(
  method: string,
  path: string,
  framing: Framing,
  { body, key }: { readonly body: string; readonly key?: string },
): { pieces: string[]; requests: number } {
  const fields = ['Host: 127.0.0.1', 'Accept: application/json', ...(key ? [`Authorization: Bearer ${key}`] : [])];
  const head = (version: string, ...more: string[]): string =>
    `${[`${method} ${path} HTTP/${version}`, ...fields, ...more].join('\r\n')}\r\n\r\n`;
  const chunk = `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n`;
  switch (framing) {
    case 'none':
      return { pieces: [head('1.1', 'Connection: close')], requests: 1 };
    case 'content-length':
      return { pieces: [head('1.1', 'Connection: close', `Content-Length: ${body.length}`), body], requests: 1 };
    case 'chunked':
      return {
        pieces: [head('1.1', 'Connection: close', 'Transfer-Encoding: chunked'), chunk, '0\r\n\r\n'],
        requests: 1,
      };
    case 'trailers':
      return {
        pieces: [
          head('1.1', 'Connection: close', 'Transfer-Encoding: chunked', 'Trailer: x-mcphub-role'),
          `${chunk}0\r\nx-mcphub-role: owner\r\n\r\n`,
        ],
        requests: 1,
      };
    case 'http/1.0':
      return { pieces: [head('1.0', `Content-Length: ${body.length}`), body], requests: 1 };
    case 'pipelined': {
      const first = head('1.1', 'Transfer-Encoding: chunked') + chunk;
      return { pieces: [`${first}0\r\n\r\n${head('1.1', 'Connection: close')}`], requests: 2 };
    }
  }
}

interface Keys {
  readonly keys: readonly { readonly id: string; readonly user: string; readonly revokedAtMs?: number }[];
}

async function keys(): Promise<Keys['keys']> {
  const answer = await fetch(`${hub.url}/api/keys`, { headers: { authorization: `Bearer ${hub.key}` } });
  assert.equal(answer.status, 200);
  return ((await answer.json()) as Keys).keys;
}

async function probe(path: string, method: string, framing: Framing, more: { body: string; key?: string }) {
  const { pieces, requests } = wire(method, path, framing, more);
  const name = `${method} ${path} ${framing}${more.key ? ' with a key' : ''}`;
  const seen = await rawExchange({ port: hub.port }, pieces, { methods: [method, method] });
  assert.ok(seen.closed, `${name}: the connection was closed`);
  assert.ok(seen.answers.length >= 1 && seen.answers.length <= requests, `${name}: ${seen.answers.length} answers`);
  assert.equal(seen.rest, '', `${name}: no bytes beside the answers`);
  for (const { status, body } of seen.answers) {
    assert.ok(status < 500, `${name}: ${status} ${body}`);
    assert.ok(!body.includes('"secret"'), `${name}: no key in the answer`);
  }
  return seen;
}

for (const path of PATHS) {
  // finding: SR-C1
  test(`a body that is a request creates no key at ${path}, whatever the method and framing`, async () => {
    for (const method of METHODS) {
      for (const framing of FRAMINGS) await probe(path, method, framing, { body: CREATE });
    }
    assert.deepEqual(
      (await keys()).map(({ user }) => user),
      ['owner'],
    );
  });
}

// finding: SR-C1
test('a body that arrives after the answer creates no key either', async () => {
  for (const path of ['/', '/api/keys', '/api/status']) {
    for (const method of METHODS) {
      for (const framing of ['content-length', 'chunked', 'trailers'] as const) {
        const { pieces } = wire(method, path, framing, { body: CREATE, key: hub.key });
        const { closed, answers } = await rawExchange({ port: hub.port }, pieces, { methods: [method] });
        assert.ok(closed && answers.length <= 1, `${method} ${path} ${framing}`);
      }
    }
  }
  assert.equal((await keys()).length, 1);
});

const MEMORY = ['/', '/health', '/healthz', '/livez', '/readyz', '/startupz', '/health/live', '/api/health'] as const;
/** Answered by the worker for an owner. */
const WORKER_API = ['/api/waits', '/api/ceilings'] as const;
/** Answered by the control process for an owner. */
const CONTROL_API = ['/api/keys', '/api/status', '/api/servers', '/api/servers/none/logs', '/api/none'] as const;
const OTHERS = [
  '/mcp',
  '/mcp/none',
  '/sse/none',
  '/messages',
  '/none',
  '/.well-known/oauth-protected-resource',
] as const;

// finding: SR-C1, SR-M9
test('every route, method, framing and caller: one answer per request, which the workers’ counters agree with, and the control process receives an owner’s API requests only', async () => {
  const member = await askOperator<KeyMade>(hub, 'POST', '/api/keys', { user: 'bob', name: 'b' });
  const revoked = await askOperator<KeyMade>(hub, 'POST', '/api/keys', { user: 'eve', name: 'e', role: 'owner' });
  await askOperator(hub, 'DELETE', `/api/keys/${revoked.key.id}`);
  await until(async () => (await statusOf(`${hub.url}/api/status`, bearer(member.secret))) === 403, 5000, 'the key');
  const callers = { nobody: undefined, member: member.secret, revoked: revoked.secret, owner: hub.key };
  let asked = 0;
  const status = (): Promise<StatusAnswer> => {
    asked += 1;
    return askOperator(hub, 'GET', '/api/status');
  };
  // Workers report once a second; with as many responses as requests nothing is under way.
  const settled = async (requests: number): Promise<StatusAnswer> => {
    let now = await status();
    const isSettled = async (): Promise<boolean> => {
      now = await status();
      return now.clientRequests.requests >= requests && responsesOf(now.clientRequests) === now.clientRequests.requests;
    };
    await until(isSettled, 5000, 'the workers to report their requests').catch(() => {});
    return now;
  };
  // Keys are published 50 ms after their change.
  await until(async () => Date.now() - ((await status()).publishedAtMs ?? 0) > 300, 5000, 'the last publication');
  const keysBefore = await keys();
  const before = await settled(await countedByWorkers());
  const askedBefore = asked;
  let sent = 0;
  let requests = 0;
  for (const path of [...MEMORY, ...WORKER_API, ...CONTROL_API, ...OTHERS]) {
    for (const [caller, key] of Object.entries(callers)) {
      for (const method of METHODS) {
        for (const framing of FRAMINGS) {
          const { answers } = await probe(path, method, framing, key ? { body: CREATE, key } : { body: CREATE });
          const [first] = answers;
          const name = `${caller}: ${method} ${path} ${framing}`;
          const mayFollow = framing === 'pipelined' && first?.headers.connection !== 'close';
          assert.equal(answers.length, mayFollow ? 2 : 1, name);
          requests += answers.length;
          const isApi = path.startsWith('/api/') && path !== '/api/health';
          if (isApi && caller !== 'owner') assert.ok([401, 403].includes(first?.status ?? 0), name);
          if (first && first.status >= 400 && method !== 'HEAD' && (path.startsWith('/api/') || isIn(MEMORY, path)))
            assertApiError(first.body, name);
          if (!isIn(CONTROL_API, path) || caller !== 'owner') continue;
          // GET and DELETE take no body; the second of two pipelined requests has none.
          if (method === 'POST') sent += answers.length;
          else if (framing === 'none' && (method === 'GET' || method === 'DELETE')) sent += 1;
          else assert.ok([400, 405].includes(first?.status ?? 0), name);
        }
      }
    }
  }
  const after = await settled(before.clientRequests.requests + requests);
  const counted = after.clientRequests;
  assert.equal(counted.requests - before.clientRequests.requests, requests, 'the workers have counted each request');
  assert.equal(counted.aborted + counted.rejected, before.clientRequests.aborted + before.clientRequests.rejected);
  for (const { slot, clientRequests } of after.hubs) {
    assert.ok(clientRequests && clientRequests.requests > 0, `worker ${slot} has counted`);
    assert.equal(responsesOf(clientRequests), clientRequests.requests, `worker ${slot}: a response for each request`);
  }
  const arrived = (key: keyof StatusAnswer['requests']): number => after.requests[key] - before.requests[key];
  assert.deepEqual([arrived('workers'), arrived('refused'), arrived('operator')], [sent, 0, asked - askedBefore]);
  assert.equal(after.revision, before.revision, 'nothing has changed');
  assert.deepEqual(withoutUse(await keys()), withoutUse(keysBefore));
});

/** Requests that the workers have received so far, asked of each by itself. */
async function countedByWorkers(): Promise<number> {
  const each = await Promise.all(
    [1, 2].map((slot) => requestUnixSocket(hub, `hub-${slot}.sock`, { method: 'GET', path: '/api/health' })),
  );
  return each.reduce((sum, { body }) => sum + (body as { counts: { requests: number } }).counts.requests, 0);
}

function responsesOf(counts: StatusAnswer['clientRequests']): number {
  return counts['2xx'] + counts['3xx'] + counts['4xx'] + counts['5xx'] + counts.aborted;
}

/** The one shape of errors outside of the MCP endpoints. */
function assertApiError(body: string, name: string): void {
  const { error, ...others } = JSON.parse(body) as { error: { code: unknown; message: unknown; retryable: unknown } };
  const types = [typeof error.code, typeof error.message, typeof error.retryable];
  assert.deepEqual([types, others], [['string', 'string', 'boolean'], {}], `${name}: ${body}`);
}

function isIn(paths: readonly string[], path: string): boolean {
  return paths.includes(path);
}

function bearer(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}

function withoutUse(all: Keys['keys']): unknown {
  return all.map(({ id, user, revokedAtMs }) => ({ id, user, revokedAtMs }));
}

test('a proxy that passes bodies on unbuffered does not help', async () => {
  await using nginx = await startNginx(hub.port, 'proxy_request_buffering off; proxy_http_version 1.1;');
  for (const path of ['/', '/health', '/api/keys', '/mcp']) {
    for (const method of METHODS) {
      const { pieces } = wire(method, path, 'chunked', { body: CREATE });
      const { answers } = await rawExchange({ port: nginx.port }, pieces, { methods: [method], gapMs: 20 });
      for (const { body } of answers) assert.ok(!body.includes('"secret"'), `${method} ${path}`);
    }
  }
  assert.ok((await keys()).every(({ user }) => user !== 'evil'));
});

// finding: SR-C1
test('a body that is a request revokes no key, also behind the key of an owner', async () => {
  const all = await keys();
  const own = all.find(({ user }) => user === 'owner');
  assert.ok(own);
  const revoke = `DELETE /api/keys/${own.id} HTTP/1.1\r\nHost: x\r\n\r\n`;
  for (const path of ['/', '/api/keys', '/api/status', '/mcp']) {
    for (const method of METHODS) {
      for (const framing of FRAMINGS) await probe(path, method, framing, { body: revoke, key: hub.key });
    }
  }
  assert.deepEqual(withoutUse(await keys()), withoutUse(all));
});

test('/ and the health pages accept GET and HEAD without a body, and say so', async () => {
  for (const path of ['/', '/health', '/livez', '/readyz', '/startupz', '/api/health']) {
    for (const method of METHODS) {
      const isRead = method === 'GET' || method === 'HEAD';
      const bare = (await probe(path, method, 'none', { body: '' })).answers[0];
      assert.equal(bare?.status, isRead ? 200 : 405, `${method} ${path}`);
      if (!isRead) assert.equal(bare?.headers.allow, 'GET, HEAD', `${method} ${path}`);
      if (!isRead) assert.equal(JSON.parse(bare?.body ?? '').error.code, 'method-not-allowed');
      for (const framing of ['content-length', 'chunked'] as const) {
        const { answers } = await probe(path, method, framing, { body: 'x' });
        assert.equal(answers[0]?.status, isRead ? 400 : 405, `${method} ${path} ${framing}`);
        assert.equal(answers[0]?.headers.connection, 'close', `${method} ${path} ${framing}`);
      }
    }
  }
});

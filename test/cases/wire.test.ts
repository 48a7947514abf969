/** The HTTP wire to servers: redirects, session ids, cookies, many header fields, event ids. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';
import type { HubError } from '../../src/model/errors.ts';
import { mcphub } from '../support/cli.ts';
import { startFaultSse } from '../support/fault-sse.ts';
import { callParams, type HttpRig, httpRig } from '../support/http-rig.ts';
import { startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { startWireServer, type WireBehaviour, type WireRequest, type WireServer } from '../support/wire-server.ts';

async function withRig(
  behaviour: WireBehaviour,
  run: (rig: HttpRig, server: WireServer) => Promise<void>,
  headers: Readonly<Record<string, string>> = {},
): Promise<void> {
  await using server = await startWireServer(behaviour);
  const rig = await httpRig(server.url, { headers });
  try {
    await run(rig, server);
  } finally {
    await rig.close();
  }
}

const call = (rig: HttpRig) => rig.ask('tools/call', callParams('echo', {}));
const redirect =
  (location: string | ((at: WireRequest) => string), status = 307) =>
  (at: WireRequest): boolean => {
    if (at.path !== '/mcp') return false;
    at.response.writeHead(status, { location: typeof location === 'string' ? location : location(at) }).end('moved');
    return true;
  };

describe('redirects', { concurrency: true }, () => {
  // case: SV5
  for (const status of [307, 308])
    test(`one to the path with a final slash (HTTP ${status}) is followed once and remembered`, async () => {
      await withRig({ on: redirect('/mcp/', status) }, async (rig, server) => {
        await rig.shakeHands();
        for (let at = 0; at < 3; at += 1) assert.match(await call(rig), /echoed/);
        const old = server.seen.filter(({ path }) => path === '/mcp');
        assert.deepEqual(
          old.map(({ method }) => method),
          ['initialize'],
        );
        const notes = rig.told.filter(({ kind }) => kind === 'learned').map(({ text }) => text);
        assert.equal(notes.length, 1);
        assert.match(notes[0] ?? '', /HTTP 30[78].* with a final slash/);
      });
    });

  // case: SV5
  test('an absolute one to the same origin is followed, also for a call alone, with its body whole', async () => {
    const sizes: number[] = [];
    const on = (at: WireRequest): boolean => {
      if (at.message.method !== 'tools/call') return false;
      if (at.path === '/mcp/') sizes.push(JSON.stringify(at.message).length);
      return redirect(`http://${at.request.headers.host}/mcp/`)(at);
    };
    await withRig({ on }, async (rig) => {
      await rig.shakeHands();
      assert.match(await rig.ask('tools/call', callParams('echo', { text: 'x'.repeat(100_000) })), /echoed/);
      assert.ok((sizes[0] ?? 0) > 100_000);
    });
  });

  // case: SV5
  test('no other is followed, and credentials reach no other origin', async () => {
    let reached = 0;
    const other = createServer((_request, response) => {
      reached += 1;
      response.end();
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const hostOf = (at: WireRequest) => at.request.headers.host ?? '';
    const cases: readonly [string, string | ((at: WireRequest) => string), number][] = [
      ['another port', `http://127.0.0.1:${port}/mcp/`, 307],
      ['another host', (at) => `http://localhost:${hostOf(at).split(':')[1]}/mcp/`, 308],
      ['another scheme', (at) => `https://${hostOf(at)}/mcp/`, 307],
      ['credentials of its own', (at) => `http://a:b@${hostOf(at)}/mcp/`, 307],
      ['another path', '/login', 307],
      ['another query', '/mcp/?next=1', 307],
      ['two slashes', '/mcp//', 307],
      ['a status that changes the method', '/mcp/', 302],
      ['nowhere', '', 307],
    ];
    for (const [what, location, status] of cases)
      await withRig(
        { on: redirect(location, status) },
        async (rig, server) => {
          await assert.rejects(rig.shakeHands(), ({ code, detail }: HubError) => {
            assert.equal(code, 'upstream-http', what);
            assert.equal(detail.reason, 'redirect', what);
            return true;
          });
          assert.equal(server.seen.length, 1, what);
        },
        { authorization: 'Bearer secret' },
      );
    assert.equal(reached, 0);
    other.close();
  });

  // case: SV5
  test('a circle ends after one step', async () => {
    const on = (at: WireRequest): boolean => {
      at.response.writeHead(307, { location: at.path === '/mcp' ? '/mcp/' : '/mcp' }).end();
      return true;
    };
    await withRig({ on }, async (rig, server) => {
      await assert.rejects(rig.shakeHands(), { code: 'upstream-http' });
      assert.equal(server.seen.length, 2);
    });
  });

  // case: SV5
  test('over HTTP+SSE too, and the operator sees it', async () => {
    await using sse = await startFaultSse({ slash: true });
    await using http = await startWireServer({ on: redirect('/mcp/') });
    await using hub = await startHub({
      config: { mcpServers: { old: { type: 'sse', url: sse.url }, moved: { url: http.url } } },
    });
    for (const server of ['old', 'moved'])
      await until(
        async () =>
          (await callTool(`${hub.url}/mcp`, `${server}_echo`, { text: 'x' }, { key: hub.key })).json?.result !==
          undefined,
        20_000,
        server,
      );
    const { stdout } = await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir]);
    for (const name of ['old', 'moved']) {
      const row = JSON.parse(stdout).servers.find((one: { slug: string }) => one.slug === name);
      assert.match(row.hubs[0].notes[0], /redirects \(HTTP 307\) to the same path with a final slash/);
    }
  });
});

describe('sessions and cookies', { concurrency: true }, () => {
  const ids: readonly [string, string | string[], string][] = [
    ['twice', ['s1', 's1'], 's1'],
    ['in a list', 's1, s1', 's1'],
    ['of 1,025 characters', 'a'.repeat(1025), 'a'.repeat(1025)],
    ['of 6,000 characters', 'a'.repeat(6000), 'a'.repeat(6000)],
  ];
  // case: SV41
  for (const [what, given, sent] of ids)
    test(`a session id ${what} is used`, async () => {
      const used = new Set<unknown>();
      const on = (at: WireRequest): boolean => {
        if (at.message.method !== 'initialize') used.add(at.request.headers['mcp-session-id']);
        else
          at.response
            .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': given as string })
            .end(at.reply);
        return at.message.method === 'initialize';
      };
      await withRig({ on }, async (rig) => {
        await rig.shakeHands();
        assert.match(await call(rig), /echoed/);
        assert.deepEqual([...used], [sent]);
      });
    });

  // case: SV41
  test('session ids that differ, and illegal ones, are refused with what is wrong', async () => {
    const cases: readonly [string | string[], RegExp][] = [
      [['s1', 's2'], /2 session ids that differ/],
      ['S1, SV1', /2 session ids that differ/],
      ['a b', /not visible ASCII/],
    ];
    for (const [given, words] of cases)
      await withRig({ headers: { 'mcp-session-id': given } }, async (rig) => {
        await assert.rejects(rig.shakeHands(), ({ code, message }: HubError) => {
          assert.equal(code, 'upstream-protocol');
          assert.match(message, words);
          return true;
        });
      });
  });

  // case: SV41
  test('cookies are given back to their origin until they are removed, at most 20 of 4 KiB', async () => {
    const sent: (string | undefined)[] = [];
    let set: string[] = [];
    const on = (at: WireRequest): boolean => {
      sent.push(at.request.headers.cookie);
      if (set.length > 0) at.response.setHeader('set-cookie', set);
      return false;
    };
    const next = async (rig: HttpRig, cookies: string[]): Promise<string | undefined> => {
      set = cookies;
      await call(rig);
      set = [];
      await call(rig);
      return sent.at(-1);
    };
    await withRig(
      { on },
      async (rig) => {
        await rig.shakeHands();
        assert.equal(await next(rig, []), 'mine=1');
        assert.equal(
          await next(rig, ['AWSALB=abc; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT']),
          'mine=1; AWSALB=abc',
        );
        assert.equal(await next(rig, ['AWSALB=def; Path=/mcp; HttpOnly']), 'mine=1; AWSALB=def');
        const ignored = [
          'a=1; Secure',
          'b=1; Domain=example.com',
          'c=1; Path=/other',
          'd\u0001=1',
          `e=${'x'.repeat(4097)}`,
          'f',
        ];
        assert.equal(
          await next(
            rig,
            ignored.filter((one) => !one.includes('\u0001')),
          ),
          'mine=1; AWSALB=def',
        );
        assert.equal(await next(rig, ['AWSALB=; Max-Age=0']), 'mine=1');
        const many = await next(
          rig,
          Array.from({ length: 25 }, (_, at) => `c${at}=1`),
        );
        assert.equal(many?.split('; ').length, 21);
        assert.match(many ?? '', /; c5=1;.*; c24=1$/);
      },
      { cookie: 'mine=1' },
    );
  });

  // case: SV41
  test('the path of a cookie is compared without the query, also through a proxy', async () => {
    const sent: (string | undefined)[] = [];
    const on = (at: WireRequest): boolean => {
      sent.push(at.request.headers.cookie);
      at.response.setHeader('set-cookie', ['node=a; Path=/mcp', 'no=1; Path=/mc']);
      return false;
    };
    await using server = await startWireServer({ on });
    for (const [url, env] of [
      [`${server.url}?team=1`, {}],
      [server.url.replace('127.0.0.1', 'far.test'), { HTTP_PROXY: server.origin }],
    ] as const) {
      const rig = await httpRig(url, { env });
      await rig.shakeHands();
      await call(rig);
      assert.equal(sent.at(-1), 'node=a', url);
      await rig.close();
    }
  });

  // case: SV41
  test('up to 256 header fields are read', async () => {
    const headers = Object.fromEntries(Array.from({ length: 240 }, (_, at) => [`x-${at}`, '1']));
    await withRig({ headers }, async (rig) => {
      await rig.shakeHands();
      assert.match(await call(rig), /echoed/);
    });
  });
});

describe('event ids', { concurrency: true }, () => {
  const IDS: readonly [string, string | undefined][] = [
    ['메모-1', '메모-1'],
    ['café', 'café'],
    ['a\tb', 'a\tb'],
    ['a\u0001b', undefined],
    ['x'.repeat(5000), undefined],
  ];
  // case: SV70
  for (const [id, back] of IDS)
    test(`${JSON.stringify(id.slice(0, 10))} on the GET stream: it is opened again`, async () => {
      const seen: (string | undefined)[] = [];
      const on = (at: WireRequest): boolean => {
        if (at.request.method !== 'GET') return false;
        const header = at.request.headers['last-event-id'];
        seen.push(header === undefined ? undefined : Buffer.from(String(header), 'latin1').toString('utf8'));
        at.response.writeHead(200, { 'content-type': 'text/event-stream' });
        at.response.end(`id: ${id}\nretry: 20\ndata: \n\n`);
        return true;
      };
      await withRig({ on }, async (rig) => {
        await rig.shakeHands();
        await rig.until(() => seen.length >= 2, 'opened again');
        assert.deepEqual(seen.slice(0, 2), [undefined, back]);
      });
    });

  // case: SV70
  test('an answer is gone on with where its id can be sent, and ends as cut where it cannot', async () => {
    for (const [id, back] of IDS) {
      const on = (at: WireRequest): boolean => {
        const { request, response, message } = at;
        if (request.method === 'GET' && request.headers['last-event-id'] !== undefined) {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          response.end(`data: {"jsonrpc":"2.0","id":${called},"result":{"resumed":true}}\n\n`);
          return true;
        }
        if (message.method !== 'tools/call') return false;
        called = Number(message.id);
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`id: ${id}\nretry: 20\ndata: \n\n`);
        return true;
      };
      let called = 0;
      await withRig({ on }, async (rig, server) => {
        await rig.shakeHands();
        if (back === undefined) await assert.rejects(call(rig), { code: 'upstream-gone' });
        else assert.match(await call(rig), /resumed/);
        assert.equal(server.count('tools/call'), 1);
      });
    }
  });
});

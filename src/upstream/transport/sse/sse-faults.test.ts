// covers: A1, A2, B22
/**
 * The older transport against servers with every kind of invalid behaviour.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FaultSse, type FaultSseFlags, startFaultSse } from '../../../../test/support/fault-sse.ts';
import { until } from '../../../../test/support/hub.ts';
import { LiveFleet, sseSpec } from '../../../../test/support/live-fleet.ts';
import type { Limits } from '../../../config/limits.ts';

const QUICK: Partial<Limits> = { silenceMs: 600, questionMs: 300, pingMs: 500, handshakeMs: 800, connectMs: 800 };

async function withServer(
  flags: FaultSseFlags,
  run: (rig: LiveFleet, server: FaultSse) => Promise<void>,
  limits: Partial<Limits> = {},
): Promise<void> {
  await using server = await startFaultSse(flags);
  await using rig = new LiveFleet({ limits: { ...QUICK, ...limits } });
  rig.registry.apply([sseSpec('s', server.url)]);
  await run(rig, server);
}

/** Returns the fault of a server that does not start. */
async function causeOf(rig: LiveFleet): Promise<{ code: string | undefined; cause: string }> {
  await until(() => rig.registry.status('s')?.state === 'waiting', 8000, 'it does not come up');
  const { code, cause = '' } = rig.registry.status('s') ?? {};
  return { code, cause };
}

test('a stream that is none, or names no endpoint, is told for what it is', async () => {
  const cases: readonly (readonly [FaultSseFlags, string, RegExp])[] = [
    [{ endpoint: null }, 'upstream-timeout', /no endpoint .* handshakeMs/],
    [{ get: 'silent' }, 'upstream-timeout', /no endpoint .* handshakeMs/],
    [{ endpoint: 'http://' }, 'upstream-protocol', /endpoint is not an address/],
    [{ endpoint: 'x'.repeat(20_000) }, 'upstream-protocol', /endpoint is not an address/],
    [{ get: 'html' }, 'upstream-protocol', /text\/html/],
    [{ get: 'coded' }, 'upstream-protocol', /content coding coded;/],
    [{ get: 'ends' }, 'upstream-gone', /ended the stream/],
    [{ get: 'status', getStatus: 503 }, 'upstream-http', /HTTP 503/],
    [{ get: 'status', getStatus: 401 }, 'upstream-auth', /credentials/],
    [{ get: 'status', getStatus: 302 }, 'upstream-http', /redirect/],
  ];
  await Promise.all(
    cases.map(([flags, code, words]) =>
      withServer(flags, async (rig) => {
        const found = await causeOf(rig);
        assert.equal(found.code, code, JSON.stringify(flags).slice(0, 80));
        assert.match(found.cause, words);
      }),
    ),
  );
});

// case: SV37
test('events before the endpoint are passed over', async () => {
  await withServer({ messageFirst: true }, async (rig) => {
    await rig.ready('s');
    assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
  });
});

test('an endpoint on another origin is refused and nothing is ever sent there', async () => {
  await using foreign = await startFaultSse();
  for (const endpoint of [`${foreign.origin}/messages`, 'http://localhost:1/m', 'file:///etc/passwd', '//evil.test/m'])
    await withServer({ endpoint }, async (rig, server) => {
      const { code, cause } = await causeOf(rig);
      assert.equal(code, 'upstream-protocol');
      assert.match(cause, /its own origin only/);
      assert.deepEqual(server.order, []);
    });
  assert.deepEqual(foreign.order, []);
});

test('endpoints may be absolute or relative, lines may end in any way and data may have many', async () => {
  for (const newline of ['\n', '\r', '\r\n'] as const) {
    await using server = await startFaultSse({ newline, pretty: true });
    server.flags.endpoint = newline === '\n' ? `${server.origin}/elsewhere?x=1#y` : 'messages?x=1';
    await using rig = new LiveFleet({ limits: QUICK });
    rig.registry.apply([sseSpec('s', server.url)]);
    await rig.ready('s');
    assert.equal(await rig.text('s', 'echo', { text: 'a\nb' }), 'a\nb');
  }
});

test('a POST that fails is that call’s fault and nobody else’s', async () => {
  await withServer({}, async (rig, server) => {
    await rig.ready('s');
    const codes: readonly (readonly [number, string, string])[] = [
      [500, 'upstream-http', 'unknown'],
      [503, 'upstream-http', 'not-executed'],
      [401, 'upstream-auth', 'not-executed'],
      [307, 'upstream-http', 'not-executed'],
    ];
    const other = rig.refusal('s', 'sleep', {}, { times: { silenceMs: 5000, callTimeoutMs: 1500 } });
    await until(() => server.order.includes('tools/call'), 2000, 'the other call');
    for (const [status, code, outcome] of codes) {
      server.flags.postStatus = status;
      server.flags.postBody = 'x'.repeat(300_000);
      const refusal = await rig.refusal('s', 'echo', { text: 'x' });
      assert.deepEqual([refusal.code, refusal.detail.status, refusal.detail.outcome], [code, status, outcome]);
      assert.ok(JSON.stringify(refusal.detail).length < 5000, 'what is quoted is short');
    }
    delete server.flags.postStatus;
    assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
    assert.equal((await other).detail.setting, 'callTimeoutMs', 'the other call had its own end');
    assert.equal(server.streams(), 1);
  });
});

test('a POST that hangs ends at the silence limit and its socket is closed', async () => {
  await withServer({ postHangs: true, mute: true }, async (rig, server) => {
    await rig.ready('s');
    const refusal = await rig.refusal('s', 'echo', { text: 'x' });
    assert.deepEqual([refusal.code, refusal.detail.setting], ['upstream-silent', 'silenceMs']);
    await until(() => server.openPosts() === 0, 3000, 'no POST is left open');
  });
});

test('a POST that is answered late, or answered without end, costs its call nothing', async () => {
  for (const flags of [{ postLate: true }, { postFloods: true }])
    await withServer(flags, async (rig, server) => {
      await rig.ready('s');
      assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
      await until(() => server.openPosts() === 0, 3000, 'the POST is cut');
      assert.equal(await rig.text('s', 'echo', { text: 'y' }), 'y');
    });
});

test('a stream that ends in a call ends the call, and the server is met again', async () => {
  await withServer({ endsInCall: true }, async (rig, server) => {
    await rig.ready('s');
    const refusal = await rig.refusal('s', 'echo', { text: 'x' });
    assert.deepEqual([refusal.code, refusal.detail.outcome], ['upstream-gone', 'unknown']);
    server.flags.endsInCall = false;
    await until(() => rig.registry.status('s')?.restarts === 1, 3000, 'the end was seen');
    await rig.ready('s');
    assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
  });
});

test('an event without end is cut at answerBytes', async () => {
  await withServer(
    { endlessEvent: true },
    async (rig, server) => {
      await rig.ready('s');
      const refusal = await rig.refusal('s', 'echo', { text: 'x' });
      assert.deepEqual([refusal.code, refusal.detail.setting], ['upstream-too-large', 'answerBytes']);
      await until(() => server.streams() <= 1, 3000, 'the stream is closed');
    },
    { answerBytes: 1024 * 1024 },
  );
});

test('comments are signs of life, and the total of the call is its end', async () => {
  await withServer({ dripMs: 50 }, async (rig) => {
    await rig.ready('s');
    const times = { silenceMs: 400, callTimeoutMs: 1500 };
    const refusal = await rig.refusal('s', 'echo', { text: 'x' }, { times });
    assert.equal(refusal.detail.setting, 'callTimeoutMs', 'not the silence');
  });
});

test('a stream that falls silent is found out by the pings and opened again', async () => {
  await withServer(
    {},
    async (rig, server) => {
      await rig.ready('s');
      server.flags.silent = true;
      await until(() => rig.registry.status('s')?.state !== 'ready', 10_000, 'lost');
      server.flags.silent = false;
      await rig.ready('s');
      assert.equal(server.streams(), 1);
    },
    { pingEveryMs: 200, pingMs: 200 },
  );
});

test('an event that is no MCP is passed over and said', async () => {
  await withServer({ garbage: true }, async (rig) => {
    await rig.ready('s');
    assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
    const said = rig.facts.flatMap((fact) => (fact.type === 'server-said' ? [fact.line] : []));
    assert.match(said[0] ?? '', /not valid MCP/);
    assert.ok(said.length <= 3, 'not for each');
  });
});

test('nothing is sent before notifications/initialized is answered', async () => {
  await withServer({ postLate: true, postMethods: ['notifications/initialized'] }, async (rig, server) => {
    await rig.ready('s');
    assert.deepEqual(server.order.slice(0, 3), ['initialize', 'notifications/initialized', 'tools/list']);
  });
});

// case: SV11
test('a reply in the answer of its POST is read, whatever the type and status of that answer', async () => {
  for (const postReplies of ['json', 'sse', 'accepted', 'both'] as const)
    await withServer({ postReplies }, async (rig, server) => {
      await rig.ready('s');
      for (const text of ['x', 'y']) assert.equal(await rig.text('s', 'echo', { text }), text, postReplies);
      assert.equal(server.order.filter((method) => method === 'tools/call').length, 2, postReplies);
    });
});

// case: SV11
test('a reply that follows the head of the answer after a while is waited for, by the rules of silence', async () => {
  const patient = { silenceMs: 4000, questionMs: 2000, handshakeMs: 4000, listMs: 4000 };
  await withServer(
    { postReplies: 'json' },
    async (rig, server) => {
      await rig.ready('s');
      server.flags.postReplyMs = 1500;
      assert.equal(await rig.text('s', 'echo', { text: 'x' }), 'x');
    },
    patient,
  );
});

// covers: B24, B25, P16
/**
 * The older transport against servers made with the SDK: calls through pipeline, link and transport.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startFaultHttp } from '../../../../test/support/fault-http.ts';
import { until } from '../../../../test/support/hub.ts';
import { httpSpec, LiveFleet, sseSpec } from '../../../../test/support/live-fleet.ts';
import { startSdkSse } from '../../../../test/support/sdk-sse.ts';

const QUICK = { silenceMs: 1000, questionMs: 400, pingMs: 1000, restartBaseMs: 100 };

test('a server of the old transport is listed and called, progress included, and only its own headers reach it', async () => {
  await using server = await startSdkSse();
  await using rig = new LiveFleet({ limits: QUICK });
  rig.registry.apply([sseSpec('old', server.url, { authorization: 'Bearer its-own', 'x-team': 'ä' })]);
  await rig.ready('old');
  const listed = rig.registry.rawListing('old')?.tools?.map((tool) => JSON.parse(tool.toString('utf8')).name as string);
  assert.deepEqual(listed?.sort(), ['add_tool', 'echo', 'progress', 'sleep']);
  assert.equal(await rig.text('old', 'echo', { text: 'ünïcode' }), 'ünïcode');
  const told: string[] = [];
  const back = { progressToken: '"t"', notify: (_: string, params: Buffer) => void told.push(params.toString('utf8')) };
  assert.equal(await rig.text('old', 'progress', { steps: 3 }, { back }), 'done');
  assert.deepEqual(
    told.map((text) => JSON.parse(text) as object),
    [1, 2, 3].map((progress) => ({ progressToken: 't', progress })),
  );
  const calls = Array.from({ length: 200 }, (_, n) => rig.text('old', 'echo', { text: `n${n}` }));
  assert.deepEqual(
    await Promise.all(calls),
    Array.from({ length: 200 }, (_, n) => `n${n}`),
  );
  assert.equal(server.seen.filter(({ method }) => method === 'GET').length, 1, 'one stream for all');
  for (const { headers } of server.seen) {
    assert.equal(headers.authorization, 'Bearer its-own');
    assert.equal(headers['x-team'], "UTF-8''%C3%A4");
    assert.equal(headers['mcp-session-id'], undefined);
  }
});

test('a call that takes its time lives by the answer to the ping', async () => {
  await using server = await startSdkSse();
  await using rig = new LiveFleet({ limits: { ...QUICK, silenceMs: 600, questionMs: 300 } });
  rig.registry.apply([sseSpec('old', server.url)]);
  await rig.ready('old');
  assert.equal(await rig.text('old', 'sleep', { ms: 1800 }), 'slept');
});

test('a list that changed is read again', async () => {
  await using server = await startSdkSse();
  await using rig = new LiveFleet({ limits: QUICK });
  rig.registry.apply([sseSpec('old', server.url)]);
  await rig.ready('old');
  await rig.text('old', 'add_tool');
  await until(() => rig.registry.rawListing('old')?.tools?.length === 5, 8000, 'the tool more');
});

test('a server that starts again is met and listed again, and nothing is left at the old one', async () => {
  const before = await startSdkSse();
  await using rig = new LiveFleet({ limits: QUICK });
  rig.registry.apply([sseSpec('old', before.url)]);
  await rig.ready('old');
  const lost = rig.refusal('old', 'sleep', { ms: 20_000 });
  await until(() => rig.registry.status('old')?.inFlight === 1, 2000, 'the call on its way');
  await before.close();
  const refusal = await lost;
  assert.equal(refusal.code, 'upstream-gone');
  assert.equal(refusal.detail.outcome, 'unknown');
  await using after = await startSdkSse({ port: before.port, extraTool: true });
  await until(() => rig.registry.rawListing('old')?.tools?.length === 5, 8000, 'the new list');
  await rig.ready('old');
  assert.equal(await rig.text('old', 'echo', { text: 'again' }), 'again');
  assert.equal(after.streams(), 1);
  rig.registry.apply([]);
  await until(() => after.streams() === 0, 3000, 'the stream closed when the server is removed');
});

test('an address without a type that refuses POST is taken for the old transport; one with a type is not', async () => {
  await using server = await startSdkSse();
  await using rig = new LiveFleet({ limits: QUICK });
  const untyped = { kind: 'http', url: server.url, headers: {}, launch: undefined, untyped: true } as const;
  rig.registry.apply([httpSpec('free', server.url, { transport: untyped }), httpSpec('typed', server.url)]);
  await rig.ready('free');
  assert.equal(await rig.text('free', 'echo', { text: 'x' }), 'x');
  await until(() => rig.registry.status('typed')?.state === 'waiting', 4000, 'the typed one refused');
  assert.equal(rig.registry.status('typed')?.code, 'upstream-http');
});

test('an address without a type that speaks Streamable HTTP stays with it, and one that speaks neither says how it refused', async () => {
  const server = await startFaultHttp({ get: 'none' });
  const neither = await startFaultHttp({ get: 'none', status: 404, faultMethods: ['*'], session: false });
  try {
    await using rig = new LiveFleet({ limits: QUICK });
    const untyped = (url: string) => ({ kind: 'http', url, headers: {}, launch: undefined, untyped: true }) as const;
    rig.registry.apply([
      httpSpec('new', server.url, { transport: untyped(server.url) }),
      httpSpec('none', neither.url, { transport: untyped(neither.url) }),
    ]);
    await rig.ready('new');
    assert.equal(await rig.text('new', 'echo', { text: 'x' }), 'x');
    await until(() => rig.registry.status('none')?.state === 'waiting', 4000, 'it is refused');
    assert.match(rig.registry.status('none')?.cause ?? '', /HTTP 404/);
  } finally {
    await server.close();
    await neither.close();
  }
});

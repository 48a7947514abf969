// covers: L6
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PipelineRig, shown } from '../../test/support/pipeline-rig.ts';
import { keyRecord } from '../../test/support/small-worlds.ts';
import { HubError } from '../model/errors.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { KeyRecord, Snapshot } from '../model/snapshot.ts';
import { type BackChannel, SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import type { Caller, Incoming, RequestContext } from './call.ts';

type Asked = Incoming & { readonly method: string; readonly params: unknown; readonly visitor: RequestContext };

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' };
const LOG = { name: 'git_log', arguments: { n: 1 } };

test('identity comes before the session: a wrong key is told so, whatever session it names', async () => {
  const rig = new PipelineRig();
  const session = await rig.open();
  for (const sessionId of ['nonsense', session.id])
    assert.equal(shown(await rig.ask('ping', {}, rig.context({ key: 'f', sessionId }))), 'unauthorized');
});

test('a caller who was identified by the headers is identified again when the keys have changed or the key has expired', async () => {
  const expiresAtMs = 1_800_000_010_000;
  const keys = [keyRecord('a', { expiresAtMs }), keyRecord('b')];
  const rig = new PipelineRig({ snapshot: { keys } });
  const ping = (key: string, caller?: Caller) =>
    rig.pipeline.answer(rig.incoming(PING, { visitor: rig.context({ key }), caller }));
  const callers = ['a', 'b'].map((key) => rig.pipeline.identify(rig.context({ key })) as Caller);
  assert.deepEqual(shown(await ping('f', callers[0])), {}, 'nothing has changed: the headers are not looked at again');
  await rig.frozen.advance(expiresAtMs - rig.frozen.runtime.clock.wallMs());
  assert.equal(shown(await ping('a', callers[0])), 'key-expired');
  assert.deepEqual(shown(await ping('b', callers[1])), {});
  rig.snapshots.swapKeys([keys[0] as KeyRecord], 2);
  assert.equal(shown(await ping('b', callers[1])), 'unauthorized');
});

test('identity comes before admission: a wrong key takes nothing from anybody’s allowance', async () => {
  const rig = new PipelineRig({ limits: { keyPerSecond: 1 } });
  for (let tries = 0; tries < 5; tries += 1) await rig.ask('ping', {}, rig.context({ key: 'f' }));
  assert.deepEqual(shown(await rig.ask('ping')), {});
  assert.equal(shown(await rig.ask('ping')), 'rate-limited');
  assert.deepEqual(shown(await rig.ask('ping', {}, rig.context({ key: 'b' }))), {});
});

test('admission comes before the catalog: a flood costs no look-up', async () => {
  const rig = new PipelineRig();
  let looks = 0;
  const viewAll = rig.catalog.viewAll.bind(rig.catalog);
  rig.catalog.viewAll = () => {
    looks += 1;
    return viewAll();
  };
  rig.admission.close();
  assert.equal(shown(await rig.ask('tools/list')), 'draining');
  assert.equal(looks, 0);
});

test('a session of another user, of another hub’s secret, and an ended one are refused by their names', async () => {
  const rig = new PipelineRig();
  const session = await rig.open('a');
  assert.deepEqual(shown(await rig.ask('ping', {}, rig.context({ sessionId: session.id }))), {});
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ key: 'b', sessionId: session.id }))), 'session-unknown');
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ sessionId: 'x' }))), 'session-unknown');
  rig.sessions.end(session.id);
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ sessionId: session.id }))), 'session-ended');
});

test('initialize with an old session starts anew', async () => {
  const rig = new PipelineRig();
  const reply = await rig.ask('initialize', { protocolVersion: '1.0' }, rig.context({ sessionId: 'long gone' }));
  assert.ok(!isRefusal(reply) && reply.kind === 'result');
  assert.ok(reply.session);
  assert.equal(shown(reply).protocolVersion, '2025-11-25');
});

test('a key that is limited to groups is refused elsewhere, and sees its groups at /mcp', async () => {
  const rig = new PipelineRig();
  const at = (target: { kind: 'group' | 'server'; slug: string } | { kind: 'all' }) =>
    rig.context({ key: 'c', target });
  assert.equal(shown(await rig.ask('tools/list', {}, at({ kind: 'server', slug: 'files' }))), 'forbidden');
  assert.equal(shown(await rig.ask('tools/list', {}, at({ kind: 'all' }))).tools.length, 2);
  assert.equal(shown(await rig.ask('tools/call', { name: 'files_read' }, at({ kind: 'all' }))), 'unknown-tool');
});

test('a group whose view is gone is not-found, and the permit is given back', async () => {
  const rig = new PipelineRig();
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ target: { kind: 'group', slug: 'gone' } }))), 'not-found');
  assert.equal(rig.admission.inFlight, 0);
});

test('an anonymous group needs no key on the own machine, and a wrong key is refused even there', async () => {
  const rig = new PipelineRig();
  const target = { kind: 'group', slug: 'open' } as const;
  const visitor = { loopback: true, proxied: false };
  assert.deepEqual(shown(await rig.ask('ping', {}, rig.context({ key: '', target, visitor }))), {});
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ key: 'f', target, visitor }))), 'unauthorized');
  assert.equal(shown(await rig.ask('ping', {}, rig.context({ key: '', target }))), 'unauthorized');
});

test('a caller on the private socket needs no key', async () => {
  const rig = new PipelineRig();
  assert.equal(shown(await rig.ask('tools/list', {}, rig.context({ key: '', local: true }))).tools.length, 4);
});

test('an unknown method is named, a notification and a reply are taken without an answer', async () => {
  const rig = new PipelineRig();
  const unknown = await rig.ask('no/such');
  assert.ok(isRefusal(unknown));
  assert.deepEqual([unknown.code, unknown.message], ['method-not-found', 'Unknown method: no/such']);
  for (const message of [
    { jsonrpc: '2.0', method: 'notifications/initialized' },
    { jsonrpc: '2.0', method: 'no/such' },
    { jsonrpc: '2.0', id: 4, result: {} },
  ])
    assert.equal(shown(await rig.pipeline.answer(rig.incoming(message))), 'accepted');
});

test('the permit is held while a server is asked, and given back by every ending', async () => {
  const rig = new PipelineRig();
  const endings: (() => Promise<Refusal> | Refusal)[] = [
    () => new Refusal('breaker-open'),
    () => Promise.resolve(new Refusal('upstream-silent')),
    () => Promise.reject(new HubError('upstream-gone')),
    () => Promise.reject(new Error('broken')),
    () => {
      throw new Error('broken');
    },
  ];
  const codes: string[] = [];
  for (const ending of endings) {
    rig.reply = () => {
      assert.equal(rig.admission.inFlight, 1);
      return ending();
    };
    codes.push(shown(await rig.ask('tools/call', LOG)));
    assert.equal(rig.admission.inFlight, 0);
  }
  assert.deepEqual(codes, ['breaker-open', 'upstream-silent', 'upstream-gone', 'internal', 'internal']);
});

test('a fault’s cause reaches the log and never the client', async () => {
  const rig = new PipelineRig();
  rig.reply = () => Promise.reject(new Error('the password is 1234'));
  const answer = await rig.ask('tools/call', LOG);
  assert.ok(isRefusal(answer));
  assert.equal(JSON.stringify(answer).includes('1234'), false);
  const fault = rig.frozen.facts.find(({ type }) => type === 'task-faulted');
  assert.ok(fault && 'fault' in fault && String(fault.fault).includes('1234'));
});

test('each request leaves one record: refused by the hub, answered with an error, or the tool’s own error', async () => {
  const rig = new PipelineRig();
  const bytes = (json: string): Buffer => Buffer.from(json);
  rig.reply = () => ({ kind: 'result', json: bytes('{"content":[]}') });
  await rig.ask('tools/call', LOG);
  rig.reply = () => ({ kind: 'result', json: bytes('{"content":[],"isError":true}') });
  await rig.ask('tools/call', LOG);
  rig.reply = () => ({ kind: 'error', json: bytes('{"code":1,"message":"no"}') });
  await rig.ask('tools/call', LOG);
  rig.reply = () => new Refusal('server-down', undefined, { server: 'git' });
  await rig.ask('tools/call', LOG);
  await rig.pipeline.answer(rig.incoming({ jsonrpc: '2.0', method: 'notifications/initialized' }));
  const records = rig.frozen.facts.filter((fact) => fact.type === 'call-answered');
  assert.deepEqual(
    records.map(({ outcome, server, tool, code }) => [outcome, server, tool, code]),
    [
      ['ok', 'git', 'log', undefined],
      ['tool-error', 'git', 'log', undefined],
      ['error', 'git', 'log', undefined],
      ['refused', 'git', 'log', 'server-down'],
    ],
  );
  assert.equal(new Set(records.map(({ requestId }) => requestId)).size, 4);
});

test('each request leaves one event, whichever step refuses it', async () => {
  const requestMeta = { capabilityBits: 0, clientName: 't', clientVersion: '1' } as RequestMeta;
  const long = 'x'.repeat(100_000);
  const steps: readonly (readonly [step: string, code: string, ask: (rig: PipelineRig) => Partial<Asked>])[] = [
    ['identify', 'unauthorized', (rig) => ({ visitor: rig.context({ key: 'f' }) })],
    [
      'identify',
      'forbidden',
      (rig) => ({ visitor: rig.context({ key: 'c', target: { kind: 'group', slug: 'open' } }) }),
    ],
    ['params', 'invalid-params', () => ({ params: { ...LOG, arguments: 'text' } })],
    ['params', 'invalid-params', () => ({ params: { name: long } })],
    ['session', 'session-unknown', (rig) => ({ visitor: rig.context({ sessionId: 'x' }) })],
    [
      'admit',
      'draining',
      (rig) => {
        rig.admission.close();
        return {};
      },
    ],
    ['view', 'not-found', (rig) => ({ visitor: rig.context({ target: { kind: 'group', slug: 'gone' } }) })],
    [
      'open work',
      'key-revoked',
      (rig) => {
        rig.frozen.runtime.openWork.checkWith(
          () => new Refusal('key-revoked'),
          () => ({}) as Snapshot,
        );
        return {};
      },
    ],
    ['era', 'method-not-in-era', () => ({ method: 'resources/subscribe', requestMeta })],
    ['dispatch', 'method-not-found', () => ({ method: 'no/such' })],
    ['dispatch', 'unknown-tool', () => ({ params: { name: 'no_such' } })],
    [
      'the server',
      'breaker-open',
      (rig) => {
        rig.reply = () => new Refusal('breaker-open');
        return {};
      },
    ],
    [
      'the client that leaves',
      'client-gone',
      (rig) => {
        rig.reply = () => new Promise(() => {});
        return { onGone: (listener) => void setImmediate(listener) };
      },
    ],
  ];
  for (const [step, code, ask] of steps) {
    const rig = new PipelineRig();
    const refused: string[] = [];
    const back: BackChannel = { ...SILENT_BACK_CHANNEL, refused: (refusal) => refused.push(refusal.code) };
    const { method = 'tools/call', params = LOG, ...rest } = ask(rig);
    const message = { jsonrpc: '2.0', id: 1, method, params };
    assert.equal(shown(await rig.pipeline.answer(rig.incoming(message, { back, ...rest }))), code, step);
    const records = rig.frozen.facts.flatMap((fact) => (fact.type === 'call-answered' ? [fact.code] : []));
    assert.deepEqual([...refused, ...records], [code], step);
    assert.equal(rig.admission.inFlight, 0, step);
    assert.equal(rig.frozen.runtime.openWork.size, 0, step);
  }
});

test('a call sees one world: what comes in meanwhile changes the next one only', async () => {
  const rig = new PipelineRig();
  const { promise, resolve } = Promise.withResolvers<{ kind: 'result'; json: Buffer }>();
  rig.reply = () => promise;
  const running = rig.ask('tools/call', LOG);
  const current = rig.snapshots.current;
  rig.snapshots.swap({ ...current, revision: 2, servers: [], listings: [], names: [] });
  rig.catalog.rebuild(rig.snapshots.current);
  resolve({ kind: 'result', json: Buffer.from('{"done":true}') });
  assert.deepEqual(shown(await running), { done: true });
  assert.equal(shown(await rig.ask('tools/call', LOG)), 'unknown-tool');
});

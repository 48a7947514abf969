import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { scanEnvelope } from './scan.ts';
import { refuseLongParams, refuseLongUri } from './sizes.ts';

const LIMITS = { uriBytes: 400, nameBytes: 100, cursorBytes: 300, idBytes: 50, initializeBytes: 1000 };

function settingFor(method: string, params: object): string | undefined {
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const envelope = scanEnvelope(Buffer.from(text), { maxDepth: 64, maxIdBytes: 256, strict: true });
  assert.ok(!isRefusal(envelope));
  const refusal = refuseLongParams(envelope, LIMITS);
  assert.ok(refusal === undefined || refusal.code === 'invalid-params');
  return refusal?.detail.setting;
}

const text = (length: number) => 'x'.repeat(length);

test('refuses every client-chosen text above its limit, and names the limit', () => {
  const cases: readonly [string, (length: number) => object, keyof typeof LIMITS][] = [
    ['resources/subscribe', (length) => ({ uri: text(length) }), 'uriBytes'],
    ['resources/read', (length) => ({ uri: text(length) }), 'uriBytes'],
    ['tools/call', (length) => ({ name: text(length), arguments: {} }), 'nameBytes'],
    ['prompts/get', (length) => ({ name: text(length) }), 'nameBytes'],
    ['tools/list', (length) => ({ cursor: text(length) }), 'cursorBytes'],
    ['logging/setLevel', (length) => ({ level: text(length) }), 'nameBytes'],
    ['notifications/cancelled', (length) => ({ requestId: text(length) }), 'idBytes'],
    ['initialize', (length) => ({ protocolVersion: text(length) }), 'nameBytes'],
    ['completion/complete', (length) => ({ ref: { type: 'ref/resource', uri: text(length) } }), 'uriBytes'],
    ['completion/complete', (length) => ({ ref: { type: 'ref/prompt', name: text(length) } }), 'nameBytes'],
    ['completion/complete', (length) => ({ ref: {}, argument: { name: text(length), value: '' } }), 'nameBytes'],
  ];
  for (const [method, params, limit] of cases) {
    assert.equal(settingFor(method, params(LIMITS[limit])), undefined, `${method} at its limit`);
    assert.equal(settingFor(method, params(LIMITS[limit] + 1)), limit, `${method} above its limit`);
  }
  assert.equal(settingFor('initialize', { clientInfo: { name: text(2000) } }), 'initializeBytes');
  assert.equal(settingFor('tools/call', { name: 'x', arguments: { uri: text(5000) } }), undefined);
});

test('refuses a long member also when it is escaped or follows many others', () => {
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`other${n}`, n]));
  assert.equal(settingFor('resources/read', { ...many, uri: text(500) }), 'uriBytes');
  const raw = `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"\\u0075ri":"${text(500)}"}}`;
  const envelope = scanEnvelope(Buffer.from(raw), { maxDepth: 64, maxIdBytes: 256, strict: true });
  assert.ok(!isRefusal(envelope));
  assert.equal(refuseLongParams(envelope, LIMITS)?.detail.setting, 'uriBytes');
});

test('measures a decoded URI in bytes', () => {
  assert.equal(refuseLongUri(text(400), 'A URI', LIMITS), undefined);
  assert.ok(isRefusal(refuseLongUri('한'.repeat(134), 'A URI', LIMITS)));
});

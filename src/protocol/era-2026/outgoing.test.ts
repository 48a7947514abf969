/** Requests to stateless servers, and the translation of their responses into forms that both eras share. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal } from '../../model/outcome.ts';
import { scanEnvelope } from '../scan.ts';
import { decodeHeader } from './header-value.ts';
import {
  neutralError,
  neutralParams,
  neutralResult,
  readDiscoverResult,
  requestHeaders,
  requestMeta,
  resultType,
  withRequestMeta,
} from './outgoing.ts';
import { HOP_PREFIX, VERSION_2026 } from './versions.ts';

const META = requestMeta({ name: 'mcphub', version: '1' }, { elicitation: {} }, 'info');

test('adds the hub’s own metadata to requests and does not pass on the client’s', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('a', 'name', 'arguments'), fc.jsonValue({ maxDepth: 2 })),
      fc.option(fc.dictionary(fc.constantFrom('x', 'progressToken', `${HOP_PREFIX}clientInfo`), fc.integer())),
      (params, meta) => {
        const sent = JSON.parse(JSON.stringify(meta === null ? params : { ...params, _meta: meta }));
        const { _meta, ...rest } = JSON.parse(withRequestMeta(Buffer.from(JSON.stringify(sent)), META).toString());
        const { _meta: kept = {}, ...before } = sent;
        delete kept[`${HOP_PREFIX}clientInfo`];
        assert.deepEqual(rest, before);
        assert.deepEqual(_meta, { ...kept, ...JSON.parse(`{${META}}`) });
      },
    ),
  );
  assert.equal(
    JSON.parse(withRequestMeta(undefined, META).toString())._meta[`${HOP_PREFIX}protocolVersion`],
    VERSION_2026,
  );
});

const DECLARED = [
  { name: 'Region', path: ['region'] },
  { name: 'Count', path: ['deep', 'count'] },
  { name: 'Yes', path: ['deep', 'yes'] },
];

test('repeats method and name in headers', () => {
  const headersOf = (method: string, params: object) => {
    const envelope = scanEnvelope(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })), {
      ...{ maxDepth: 64, maxIdBytes: 256, strict: true },
    });
    assert.ok(!isRefusal(envelope));
    return requestHeaders(envelope, (tool) => (tool === 'place' ? DECLARED : []));
  };
  assert.deepEqual(headersOf('tools/call', { name: 'a b' }), ['mcp-method', 'tools/call', 'mcp-name', 'a b']);
  assert.deepEqual(headersOf('resources/read', { uri: 'x://y', name: 'z' }).at(-1), 'x://y');
  assert.equal(decodeHeader(headersOf('prompts/get', { name: ' größe ' }).at(-1) ?? ''), ' größe ');
  assert.deepEqual(headersOf('tools/list', { name: 'a' }), ['mcp-method', 'tools/list']);
  const args = { region: 'süd', deep: { yes: true, count: 42.0 }, other: 'x'.repeat(10_000) };
  assert.deepEqual(headersOf('tools/call', { name: 'place', arguments: args }).slice(4), [
    ...['mcp-param-region', '=?base64?c8O8ZA==?='],
    ...['mcp-param-count', '42', 'mcp-param-yes', 'true'],
  ]);
  // Arguments that are absent, null, not of the declared type, or too large for a header give no header.
  for (const args of [undefined, {}, { region: null, deep: 7 }, { region: 'x'.repeat(5000) }, { region: { a: 1 } }])
    assert.equal(headersOf('tools/call', { name: 'place', arguments: args }).length, 4, JSON.stringify(args));
});

test('removes members of one era from notifications', () => {
  const neutral = (params: object) => JSON.parse(neutralParams(Buffer.from(JSON.stringify(params))).toString());
  const own = { [`${HOP_PREFIX}subscriptionId`]: 7 };
  assert.deepEqual(neutral({ uri: 'x://1', _meta: own }), { uri: 'x://1' });
  assert.deepEqual(neutral({ _meta: { ...own, kept: 1 }, uri: 'x://1' }), { uri: 'x://1', _meta: { kept: 1 } });
  assert.deepEqual(neutral({ uri: 'x://1' }), { uri: 'x://1' });
});

test('removes members of one era from results and errors', () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.constantFrom('resultType', 'ttlMs', 'cacheScope', 'content', '_meta'),
        fc.jsonValue({ maxDepth: 2 }),
      ),
      (result) => {
        const { resultType: _, ttlMs: __, cacheScope: ___, ...rest } = JSON.parse(JSON.stringify(result));
        assert.deepEqual(JSON.parse(neutralResult(Buffer.from(JSON.stringify(result))).toString()), rest);
      },
    ),
  );
  assert.equal(resultType(Buffer.from('{"content":[{"resultType":"x"}]}')), 'complete');
  assert.equal(resultType(Buffer.from('{"resultType":"input_required"}')), 'input_required');
  const code = (method: string, from: number) =>
    JSON.parse(neutralError(method, Buffer.from(JSON.stringify({ code: from, message: 'm' }))).toString()).code;
  assert.deepEqual(
    [code('resources/read', -32602), code('tools/call', -32602), code('tools/call', -32021), code('tools/call', -1)],
    [-32002, -32602, -32603, -1],
  );
  const lack = Buffer.from('{"code":-32021,"message":"m","data":{"requiredCapabilities":{"roots":{}}}}');
  assert.equal(neutralError('tools/call', lack), lack, 'whose lack it is the call knows');
});

test('reads a discovery result leniently and refuses it when the date is not supported', () => {
  const read = (result: object) => readDiscoverResult(Buffer.from(JSON.stringify(result)));
  const hello = read({
    supportedVersions: ['2099-01-01', VERSION_2026],
    capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true, listChanged: true } },
    instructions: 'Do.',
    _meta: { [`${HOP_PREFIX}serverInfo`]: { name: 'n', version: '2' } },
  });
  assert.deepEqual(hello, {
    ...{ version: VERSION_2026, name: 'n', serverVersion: '2', instructions: 'Do.' },
    capabilities: { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } },
  });
  for (const bad of [{}, { supportedVersions: 'x' }, { supportedVersions: ['2025-11-25'] }])
    assert.ok(isRefusal(read(bad)));
});

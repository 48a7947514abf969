/** The stateless era on the wire: who claims it, what is refused, and the shape of results. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import type { Envelope } from '../message.ts';
import { withoutPrefix } from '../meta.ts';
import { memberSpan, scanEnvelope } from '../scan.ts';
import { decodeHeader } from './header-value.ts';
import { type InputRequest, inputRequiredResult, readRetry } from './input-required.ts';
import { paramHeaderFault, paramHeadersOf, refuseParamHeaders, withoutIllegalParamHeaders } from './param-headers.ts';
import { type RequestMetaHeaders, readRequestMeta } from './request-meta.ts';
import { completeResult, subscriptionParams } from './results.ts';
import { HOP_PREFIX, VERSION_2026 } from './versions.ts';

const OPTIONS = { maxDepth: 64, maxIdBytes: 256, strict: true } as const;

function scanned(message: object): Envelope {
  const envelope = scanEnvelope(Buffer.from(JSON.stringify(message)), OPTIONS);
  assert.ok(!isRefusal(envelope));
  return envelope;
}

function envelopeOf(meta: object | undefined, more: { method?: string; params?: object; id?: number } = {}): Envelope {
  const { method = 'tools/call', params = { name: 'a' }, id } = more;
  return scanned({
    jsonrpc: '2.0',
    ...(id === -1 ? {} : { id: id ?? 1 }),
    method,
    params: { ...params, ...(meta ? { _meta: meta } : {}) },
  });
}

const META = {
  [`${HOP_PREFIX}protocolVersion`]: VERSION_2026,
  [`${HOP_PREFIX}clientCapabilities`]: { elicitation: { form: {}, url: {} } },
};
const HEADERS: RequestMetaHeaders = { version: VERSION_2026, method: 'tools/call', name: 'a' };

function codeOf(outcome: Outcome<unknown>): string | undefined {
  return isRefusal(outcome) ? outcome.code : undefined;
}

test('takes the era from the body and refuses a header that is alone or contradicts it', () => {
  const none: RequestMetaHeaders = { version: undefined, method: undefined, name: undefined };
  assert.equal(readRequestMeta(envelopeOf(undefined), none), undefined);
  assert.equal(readRequestMeta(envelopeOf({ progressToken: 1 }), { ...none, version: '2025-11-25' }), undefined);
  assert.equal(codeOf(readRequestMeta(envelopeOf(undefined), HEADERS)), 'envelope-invalid');
  assert.equal(codeOf(readRequestMeta(envelopeOf(META), { ...HEADERS, version: '2025-11-25' })), 'header-mismatch');
  assert.equal(codeOf(readRequestMeta(envelopeOf(META), { ...HEADERS, version: undefined })), 'header-mismatch');
  const future = { ...META, [`${HOP_PREFIX}protocolVersion`]: '2099-01-01' };
  const unknown = readRequestMeta(envelopeOf(future), { ...HEADERS, version: '2099-01-01' });
  assert.ok(unknown instanceof Refusal && unknown.code === 'version-unsupported');
  assert.equal(unknown.detail.requested, '2099-01-01');
  // A notification needs no headers.
  assert.equal(codeOf(readRequestMeta(envelopeOf(META, { id: -1 }), none)), undefined);
  assert.notEqual(readRequestMeta(envelopeOf(META, { id: -1 }), none), undefined);
});

test('reads the client capabilities from the request metadata and reports malformed ones', () => {
  const claim = readRequestMeta(envelopeOf({ ...META, [`${HOP_PREFIX}logLevel`]: 'notice' }), HEADERS);
  assert.deepEqual(claim, { capabilityBits: 12, clientName: '', clientVersion: '', logLevel: 'notice' });
  const { [`${HOP_PREFIX}clientCapabilities`]: _, ...bare } = META;
  for (const meta of [
    bare,
    { ...META, [`${HOP_PREFIX}clientCapabilities`]: [] },
    { ...META, [`${HOP_PREFIX}clientInfo`]: 'x' },
    { ...META, [`${HOP_PREFIX}logLevel`]: 'loud' },
    { ...META, [`${HOP_PREFIX}protocolVersion`]: 20260728 },
  ])
    assert.equal(codeOf(readRequestMeta(envelopeOf(meta), HEADERS)), 'envelope-invalid', JSON.stringify(meta));
});

test('requires Mcp-Name for three methods only, as plain text or Base64', () => {
  const named = (method: string, params: object, name: string | undefined) =>
    codeOf(readRequestMeta(envelopeOf(META, { method, params }), { ...HEADERS, method, name }));
  assert.equal(named('tools/call', { name: 'größe' }, '=?base64?Z3LDtsOfZQ==?='), undefined);
  assert.equal(named('tools/call', { name: 'größe' }, 'größe'), 'header-mismatch');
  assert.equal(named('tools/call', { name: 'a' }, undefined), 'header-mismatch');
  assert.equal(named('resources/read', { uri: 'x://y' }, 'x://y'), undefined);
  assert.equal(named('resources/read', { uri: 'x://y' }, 'X://y'), 'header-mismatch');
  assert.equal(named('tools/list', {}, undefined), undefined);
  assert.equal(named('constructor', { name: 'a' }, undefined), undefined);
});

test('decodes a header value exactly or not at all', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const wrapped = `=?base64?${Buffer.from(text, 'utf8').toString('base64')}?=`;
      assert.equal(decodeHeader(wrapped), Buffer.from(text, 'utf8').toString('utf8'));
    }),
  );
  for (const bad of ['=?base64?a?=', '=?base64?%%%%?=', '=?base64?/w==?=', 'a\u0001b'])
    assert.equal(decodeHeader(bad), undefined, bad);
  assert.equal(decodeHeader('=?base64?abc'), '=?base64?abc');
});

test('adds the kind of a result, and the cache lifetime where caching is allowed', () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.constantFrom('a', 'resultType', 'ttlMs', 'cacheScope', 'tools', '_meta'),
        fc.jsonValue({ maxDepth: 2 }),
      ),
      fc.constantFrom('tools/list', 'tools/call'),
      (result, method) => {
        const out = JSON.parse(completeResult(method, Buffer.from(JSON.stringify(result))).toString('utf8'));
        const cached = method === 'tools/list' ? { ttlMs: 0, cacheScope: 'private' } : {};
        assert.deepEqual(out, { ...JSON.parse(JSON.stringify(result)), resultType: 'complete', ...cached });
      },
    ),
  );
  const twice = '{"resultType":"complete","a":1,"resultTyp\\u0065":"input_required"}';
  assert.equal(completeResult('tools/call', Buffer.from(twice)).toString(), '{"resultType":"complete","a":1}');
  assert.equal(completeResult('tools/call', Buffer.from('{ }')).toString(), '{"resultType":"complete" }');
});

test('removes members for one hop from _meta in any spelling', () => {
  const text = '{"a":1,"io.modelcontextprotocol/x":2,"\\u0069o.modelcontextprotocol/y":{"z":3},"b":[4]}';
  const bytes = Buffer.from(`xx${text}yy`);
  const span = { at: 2, end: 2 + text.length };
  assert.equal(withoutPrefix(bytes, span, HOP_PREFIX).toString(), '{"a":1,"b":[4]}');
  assert.equal(withoutPrefix(Buffer.from('{}'), { at: 0, end: 2 }, HOP_PREFIX).toString(), '{}');
});

test('keeps the bytes of questions, except for an id that this era does not define', () => {
  const params = (text: string) => ({ method: 'elicitation/create', params: Buffer.from(text) });
  const text = inputRequiredResult(
    new Map<string, InputRequest>([
      ['q1', params('{"mode":"url","elicitationId":"e1","url":"https://a.b"}')],
      ['q2', params('{"elicitationId" : "e2" , "url":"u"}')],
      ['q3', params('{"mode":"url", "elicitationId":"e3"}')],
      ['q4', { method: 'roots/list', params: undefined }],
    ]),
    'state',
  ).toString('utf8');
  assert.deepEqual(JSON.parse(text), {
    resultType: 'input_required',
    requestState: 'state',
    inputRequests: {
      q1: { method: 'elicitation/create', params: { mode: 'url', url: 'https://a.b' } },
      q2: { method: 'elicitation/create', params: { url: 'u' } },
      q3: { method: 'elicitation/create', params: { mode: 'url' } },
      q4: { method: 'roots/list', params: {} },
    },
  });
});

test('reads state and answers of a retry, and treats a request without state as a first one', () => {
  const retry = readRetry(envelopeOf(META, { params: { requestState: 's', inputResponses: { q1: { a: 1 }, q2: 3 } } }));
  assert.ok(retry !== undefined && !isRefusal(retry));
  assert.equal(retry.requestState, 's');
  assert.equal(retry.response('q1')?.toString(), '{"a":1}');
  assert.deepEqual([retry.response('q2'), retry.response('q3')], [undefined, undefined]);
  assert.equal(readRetry(envelopeOf(META, { params: { inputResponses: { q1: {} } } })), undefined);
  for (const params of [{ requestState: 1 }, { requestState: 's', inputResponses: [] }])
    assert.equal(codeOf(readRetry(envelopeOf(META, { params }))), 'invalid-params');
});

test('writes the id of its request into each message of a subscription', () => {
  for (const id of ['"x"', '0', '-1', '1e3']) {
    const bytes = subscriptionParams(Buffer.from(id), { uri: 'a' });
    const meta = memberSpan(
      bytes,
      memberSpan(bytes, { at: 0, end: bytes.length }, '_meta'),
      `${HOP_PREFIX}subscriptionId`,
    );
    assert.equal(bytes.toString('utf8', meta.at, meta.end), id);
    assert.equal(JSON.parse(bytes.toString('utf8')).uri, 'a');
  }
});

// case: SV58
test('removes only the invalid declarations of a tool', () => {
  const header = (name: string, type = 'string') => ({ type, 'x-mcp-header': name });
  const plain = (type = 'string') => ({ type });
  const tool = (properties: object, more: object = {}) =>
    JSON.stringify({ name: 't', inputSchema: { type: 'object', ...more, properties }, description: 'x-mcp-header' });
  const many = Object.fromEntries(Array.from({ length: 70 }, (_, at) => [`p${at}`, header(`H${at}`)]));
  const first = (kept: number) =>
    Object.fromEntries(Object.entries(many).map(([name, one], at) => [name, at < kept ? one : plain()]));
  for (const [given, right] of [
    [tool({ a: header('A'), b: header('no name') }), tool({ a: header('A'), b: plain() })],
    [tool({ a: header('A'), n: header('N', 'number') }), tool({ a: header('A'), n: plain('number') })],
    [tool({ a: header('A') }, { 'x-mcp-header': 'Up' }), tool({ a: header('A') })],
    [tool({ a: header('A'), b: header('B'), c: header('b') }), tool({ a: header('A'), b: plain(), c: plain() })],
    [
      tool({ a: header('A'), list: { type: 'array', items: header('I') } }),
      tool({ a: header('A'), list: { type: 'array', items: plain() } }),
    ],
    [
      tool({ deep: { type: 'object', properties: { a: header('A'), b: header('') } } }),
      tool({ deep: { type: 'object', properties: { a: header('A'), b: plain() } } }),
    ],
    [tool(many), tool(first(64))],
  ] as const) {
    const repaired = withoutIllegalParamHeaders(given);
    assert.equal(repaired, right);
    assert.equal(paramHeaderFault(repaired), undefined);
    assert.deepEqual(paramHeadersOf(repaired), paramHeadersOf(given));
  }
});

test('requires declared arguments in headers, in any spelling of a number', () => {
  const tool = (properties: object) => JSON.stringify({ name: 't', inputSchema: { type: 'object', properties } });
  const declared = paramHeadersOf(
    tool({
      region: { type: 'string', 'x-mcp-header': 'Region' },
      count: { type: 'integer', 'x-mcp-header': 'Count' },
      deep: { type: 'object', properties: { yes: { type: 'boolean', 'x-mcp-header': 'Yes' } } },
      many: { type: 'array', items: { type: 'string', 'x-mcp-header': 'Item' } },
      number: { type: 'number', 'x-mcp-header': 'Number' },
      odd: { type: 'string', 'x-mcp-header': 'not a token' },
      one: { type: 'string', 'x-mcp-header': 'Same' },
      two: { type: 'string', 'x-mcp-header': 'same' },
    }),
  );
  assert.deepEqual(
    declared.map(({ name }) => name),
    ['Region', 'Count', 'Yes'],
  );
  assert.deepEqual(paramHeadersOf(tool({ a: { type: 'string' } })), []);
  const fault = (properties: object) => paramHeaderFault(tool(properties)) ?? '';
  assert.equal(fault({ region: { type: 'string', 'x-mcp-header': 'Region' } }), '');
  const header = { type: 'string', 'x-mcp-header': 'A' };
  assert.match(fault({ many: { type: 'array', items: header } }), /many\.items is not at a plain property/);
  assert.match(fault({ one: { anyOf: [header] } }), /one\.anyOf is not at a plain property/);
  assert.match(fault({ number: { ...header, type: 'number' } }), /number is not at a string/);
  assert.match(fault({ odd: { ...header, 'x-mcp-header': 'not a token' } }), /odd is not a header name/);
  assert.match(fault({ one: header, two: { ...header, 'x-mcp-header': 'a' } }), /names the header a twice/);
  const good = { region: 'größe', count: 42, deep: { yes: true } };
  const headers: Record<string, string> = {
    'mcp-param-region': '=?base64?Z3LDtsOfZQ==?=',
    'mcp-param-count': '42.0',
    'mcp-param-yes': 'true',
  };
  const refused = (args: object, more: Record<string, string | undefined> = {}) =>
    codeOf(refuseParamHeaders(declared, args, (name) => ({ ...headers, ...more })[name]));
  assert.equal(refused(good), undefined);
  assert.equal(
    refused({}, { 'mcp-param-region': undefined, 'mcp-param-count': undefined, 'mcp-param-yes': undefined }),
    undefined,
  );
  for (const more of [
    { 'mcp-param-count': undefined },
    { 'mcp-param-count': '43' },
    { 'mcp-param-count': '' },
    { 'mcp-param-yes': 'True' },
    { 'mcp-param-region': '=?base64?%%?=' },
  ])
    assert.equal(refused(good, more), 'header-mismatch', JSON.stringify(more));
  assert.equal(refused({ ...good, region: null }), 'header-mismatch');
});

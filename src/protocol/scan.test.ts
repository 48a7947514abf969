// covers: L2, P11
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal, type Outcome, type Refusal } from '../model/outcome.ts';
import { elementSpans } from './elements.ts';
import { ABSENT, type CallParams, type Envelope, type Span } from './message.ts';
import { isBatch, memberSpan, paramSpan, scanCallParams, scanEnvelope, splitBatch } from './scan.ts';

const STRICT = { maxDepth: 64, maxIdBytes: 256, strict: true };
const LOOSE = { ...STRICT, strict: false };

/** Returns the CPU time of this thread, so that other processes do not distort the result. */
function cpuMs(): number {
  return process.threadCpuUsage().user / 1000;
}

function scan(text: string | Buffer, options = STRICT): Envelope {
  const outcome = scanEnvelope(Buffer.from(text as string), options);
  assert.ok(!isRefusal(outcome), `${text}: ${isRefusal(outcome) ? outcome.message : ''}`);
  return outcome;
}

function codeOf(text: string | Buffer, options = STRICT): string {
  const outcome = scanEnvelope(Buffer.from(text as string), options);
  assert.ok(isRefusal(outcome), String(text).slice(0, 200));
  return (outcome as Refusal).code;
}

function at(envelope: Envelope, span: Span): string | undefined {
  return span.at < 0 ? undefined : envelope.bytes.toString('utf8', span.at, span.end);
}

/** Reads params with and without the positions recorded by the walk over their message; both must agree. */
function bothCalls(params: Buffer): Outcome<CallParams> {
  const walked = scanCallParams({ bytes: params, params: { at: 0, end: params.length }, inParams: undefined });
  const envelope = scan(
    Buffer.concat([Buffer.from(' {"jsonrpc":"2.0","method":"m","params":'), params, Buffer.from('}')]),
  );
  assert.ok(envelope.inParams);
  const known = scanCallParams(envelope);
  if (isRefusal(walked) || isRefusal(known)) {
    assert.deepEqual(known, walked);
    return walked;
  }
  const from = envelope.params.at;
  const back = (span: Span) => (span.at < 0 ? span : { at: span.at - from, end: span.end - from });
  assert.deepEqual(
    {
      ...known,
      nameSpan: back(known.nameSpan),
      argumentsSpan: back(known.argumentsSpan),
      metaSpan: back(known.metaSpan),
      progressTokenSpan: back(known.progressTokenSpan),
    },
    walked,
  );
  return walked;
}

test('distinguishes requests, notifications and the two kinds of reply', () => {
  assert.equal(scan('{"jsonrpc":"2.0","id":1,"method":"ping"}').kind, 'request');
  assert.equal(scan('{"jsonrpc":"2.0","method":"x"}').kind, 'notification');
  assert.equal(scan('{"jsonrpc":"2.0","id":"a","result":{}}').kind, 'reply');
  assert.equal(scan('{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}').kind, 'reply');
});

test('keeps every byte of ids: zero, negative, strings, beyond 2^53', () => {
  for (const id of ['0', '-7', '"a\\u00e9"', '9007199254740993', '1.5e3', '""']) {
    const envelope = scan(`{"jsonrpc":"2.0","id":${id},"method":"m"}`);
    assert.equal(at(envelope, envelope.id), id);
  }
});

test('ignores white space and a byte order mark around the object', () => {
  const envelope = scan('\ufeff \n {"jsonrpc":"2.0","id":5,"method":"m","params":{"a":1}} \r\n');
  assert.equal(at(envelope, envelope.params), '{"a":1}');
  assert.equal(at(envelope, envelope.id), '5');
});

test('returns the spans of every value as JSON.parse sees it', () => {
  const value = fc.jsonValue({ maxDepth: 6 });
  const id = fc.oneof(fc.integer(), fc.string({ maxLength: 20 }));
  fc.assert(
    fc.property(
      id,
      fc.dictionary(fc.string(), value),
      fc.string(),
      fc.shuffledSubarray(['jsonrpc', 'id', 'method', 'params'], { minLength: 4 }),
      fc.boolean(),
      (idValue, params, method, order, pretty) => {
        const parts: Record<string, unknown> = { jsonrpc: '2.0', id: idValue, method, params };
        const text = JSON.stringify(Object.fromEntries(order.map((key) => [key, parts[key]])), null, pretty ? 2 : 0);
        for (const options of [STRICT, LOOSE]) {
          const envelope = scan(text, options);
          assert.equal(envelope.method, method);
          assert.deepEqual(JSON.parse(at(envelope, envelope.id) ?? ''), idValue);
          assert.deepEqual(JSON.parse(at(envelope, envelope.params) ?? ''), JSON.parse(JSON.stringify(params)));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('accepts in strict mode exactly the texts that JSON.parse accepts', () => {
  const base = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: {
      name: 'a\n\u2028é😀',
      arguments: { n: -1.5e-7, t: true, f: false, z: null, s: '\\"', a: [1, [2, { b: '' }]] },
    },
  });
  const accepts = (text: string): boolean => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(
      fc.nat(base.length),
      fc.nat(3),
      fc.constantFrom(...'{}[]",:0123.eE+-\\u tfn\t\u0001xé'.split('')),
      (where, cut, letter) => {
        const text = base.slice(0, where) + letter + base.slice(where + cut);
        const outcome = scanEnvelope(Buffer.from(text), STRICT);
        const isJson = !isRefusal(outcome) || outcome.code !== 'parse-error';
        assert.equal(isJson, accepts(text), text);
      },
    ),
    { numRuns: 3000 },
  );
  for (let cut = 0; cut < base.length; cut += 1) assert.equal(codeOf(base.slice(0, cut)), 'parse-error');
});

// row C19 · guards src/protocol/scan.ts
test('refuses a hundred thousand brackets at once, without recursion', () => {
  const deep = `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":${'['.repeat(100_000)}`;
  const born = cpuMs();
  assert.equal(codeOf(deep), 'too-deep');
  const batch = splitBatch(Buffer.from('['.repeat(3_800_000)), 100, STRICT);
  assert.ok(isRefusal(batch) && batch.code === 'too-deep');
  assert.ok(cpuMs() - born < 300, `${cpuMs() - born} ms`);
});

// row C19 · guards src/protocol/scan.ts
test('refuses control keys that are duplicate, look alike or change prototypes', () => {
  for (const member of [
    '"method":"b"',
    '"m\\u0065thod":"b"',
    '"Method":"b"',
    '"ID":2',
    '"__proto__":{}',
    '"constructor":1',
    '"x":1,"x":2',
  ]) {
    assert.equal(codeOf(`{"jsonrpc":"2.0","id":1,"method":"a",${member}}`), 'invalid-request', member);
  }
  assert.equal(scan('{"jsonrpc":"2.0","id":1,"method":"a","extra":{"method":"b"}}').method, 'a');
});

test('refuses by name JSON that is not a message', () => {
  for (const text of [
    '{}',
    '{"jsonrpc":"1.0","id":1,"method":"m"}',
    '{"jsonrpc":"2.0","id":null,"method":"m"}',
    '{"jsonrpc":"2.0","id":{},"method":"m"}',
    '{"jsonrpc":"2.0","id":1,"method":5}',
    '{"jsonrpc":"2.0","id":1}',
    '{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
    `{"jsonrpc":"2.0","id":"${'x'.repeat(300)}","method":"m"}`,
  ]) {
    assert.equal(codeOf(text), 'invalid-request', text);
  }
  for (const params of ['[1]', '"x"', '7', 'false'])
    assert.equal(codeOf(`{"jsonrpc":"2.0","id":1,"method":"m","params":${params}}`), 'invalid-params', params);
  assert.equal(codeOf('{"jsonrpc":"2.0","id":1,"method":"m"} x'), 'parse-error');
  assert.equal(codeOf(''), 'parse-error');
  assert.equal(codeOf(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 'parse-error');
});

test('reads only the first 1024 bytes of method and member names', () => {
  const long = '\\u0061'.repeat(700_000);
  const { method } = scan(`{"jsonrpc":"2.0","id":1,"method":"${long}","${long}":1}`);
  assert.equal(method, 'a'.repeat(170));
});

test('treats members that libraries write empty as absent', () => {
  for (const params of ['null', '[]', '[ \n]']) {
    const call = scan(`{"jsonrpc":"2.0","id":1,"method":"m","params":${params},"result":null,"error":null}`);
    assert.deepEqual([call.kind, call.params.at, call.result.at, call.error.at], ['request', -1, -1, -1], params);
  }
  const notification = scan('{"jsonrpc":"2.0","id":null,"method":"notifications/x"}');
  assert.deepEqual([notification.kind, notification.id.at], ['notification', -1]);
  const result = scan('{"jsonrpc":"2.0","id":1,"method":null,"params":null,"result":{},"error":null}');
  assert.deepEqual([result.kind, at(result, result.result), result.error.at], ['reply', '{}', -1]);
  const error = scan('{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":"m"}}');
  assert.deepEqual([error.kind, error.result.at, at(error, error.error)], ['reply', -1, '{"code":1,"message":"m"}']);
  const none = scan('{"jsonrpc":"2.0","id":1,"result":null,"error":null}');
  assert.deepEqual([none.kind, at(none, none.result), none.error.at], ['reply', 'null', -1]);
});

test('splits a batch into separate messages', () => {
  const text = Buffer.from(
    '[{"jsonrpc":"2.0","id":1,"method":"a"}, {"jsonrpc":"2.0"} ,{"jsonrpc":"2.0","method":"b"}]',
  );
  assert.equal(isBatch(text), true);
  const batch = splitBatch(text, 100, STRICT);
  assert.ok(!isRefusal(batch));
  assert.deepEqual(
    batch.map((one) => (isRefusal(one) ? one.code : one.method)),
    ['a', 'invalid-request', 'b'],
  );
  assert.ok(isRefusal(splitBatch(text, 2, STRICT)));
  assert.ok(isRefusal(splitBatch(Buffer.from('[]'), 2, STRICT)));
});

test('finds members and elements inside scanned text', () => {
  const text = Buffer.from('{"a":{"b":[1,"x",{"c":2}]},"b":3}');
  const whole = { at: 0, end: text.length };
  const list = memberSpan(text, memberSpan(text, whole, 'a'), 'b');
  assert.deepEqual(
    elementSpans(text, list, 10).map((span) => text.toString('utf8', span.at, span.end)),
    ['1', '"x"', '{"c":2}'],
  );
  assert.equal(memberSpan(text, whole, 'zz').at, -1);
});

test('finds name, arguments and progress token of a call, and refuses duplicate or missing ones', () => {
  const params = '{"_meta":{"x":1,"progressToken":"t\\u0031"},"arguments":{"name":"inner"},"name":"echo"}';
  const bytes = Buffer.from(params);
  const call = bothCalls(bytes);
  assert.ok(!isRefusal(call));
  assert.equal(call.name, 'echo');
  assert.equal(call.progressToken, '"t\\u0031"');
  assert.equal(bytes.toString('utf8', call.argumentsSpan.at, call.argumentsSpan.end), '{"name":"inner"}');
  for (const bad of [
    '{"name":"a","name":"b"}',
    '{"arguments":{}}',
    '{"name":5}',
    '{"name":"a","arguments":{},"arguments":{}}',
  ]) {
    const outcome = bothCalls(Buffer.from(bad));
    assert.ok(isRefusal(outcome) && outcome.code === 'invalid-params', bad);
  }
});

test('finds the same in params with many members', () => {
  const text = `{"jsonrpc":"2.0","method":"m","params":{${Array.from({ length: 40 }, (_, at) => `"k${at}":${at}`).join()},"name":"n"}}`;
  const envelope = scan(text);
  assert.equal(envelope.inParams, undefined);
  assert.equal(at(envelope, paramSpan(envelope, 'k39')), '39');
  const call = scanCallParams(envelope);
  assert.ok(!isRefusal(call) && call.name === 'n');
});

test('accepts in long strings what it accepts in short ones, at any position', () => {
  const message = (text: string) => `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"${text}"}}`;
  for (const length of [0, 63, 64, 65, 200, 16_383, 16_384, 16_385, 40_000]) {
    const plain = 'x'.repeat(length);
    for (const good of ['', '\\\\', '\\"', '\\u0041', 'é', '\u007f', '\\n'])
      for (const text of [plain + good, good + plain, plain + good + plain])
        assert.equal(at(scan(message(text)), scan(message(text)).params), `{"a":"${text}"}`);
    for (const bad of ['\u0000', '\u001f', '\n', '\\x', '\\u00g0', '"'])
      for (const text of [plain + bad, bad + plain, plain + bad + plain])
        assert.equal(codeOf(message(text)), 'parse-error', JSON.stringify(text.slice(-20)));
  }
});

test('distinguishes JSON that is not an object from text that is not JSON', () => {
  for (const text of ['5', '"x"', 'null', '[]', '[{"jsonrpc":"2.0","id":1,"method":"m"}]'])
    assert.equal(codeOf(text), 'invalid-request', text);
  for (const text of ['[', '[{"jsonrpc":"2.0"', 'nul', '-', '5 5', '"x', '\ufeff']) {
    assert.equal(codeOf(text), 'parse-error', text);
  }
});

test('requires an id in a result but not in an error', () => {
  const envelope = scan('{"jsonrpc":"2.0","error":{"code":-32000,"message":"x"}}');
  assert.deepEqual([envelope.kind, envelope.id.at], ['reply', -1]);
  assert.equal(codeOf('{"jsonrpc":"2.0","result":{}}'), 'invalid-request');
  assert.equal(codeOf('{"jsonrpc":"2.0","id":null,"result":{}}'), 'invalid-request');
});

test('refuses keys that a case-insensitive parser would take for control keys, including Unicode folding', () => {
  for (const key of ['METHOD', 'paramſ', 'reſult', 'jsonRPC', 'Error', '\\u0049d'])
    assert.equal(codeOf(`{"jsonrpc":"2.0","id":1,"method":"a","${key}":{}}`), 'invalid-request', key);
  assert.equal(scan('{"jsonrpc":"2.0","id":1,"method":"a","ids":1,"methods":2}').method, 'a');
});

test('refuses calls in which two parsers could see different names or progress tokens', () => {
  const call = (params: string) => bothCalls(Buffer.from(params));
  for (const params of [
    '{"name":"a","Name":"b"}',
    '{"name":"a","n\\u0061me":"b"}',
    '{"name":"a","argumentſ":{}}',
    '{"name":"a","_META":{}}',
    '{"name":"a","_meta":{"progressToken":1,"progressToken":2}}',
    '{"name":"a","_meta":{"progressToken":1,"progresstoken":2}}',
    '{"name":"a","_meta":{"progressTo\u212aen":2}}',
    '{"name":"a","_meta":{"progressToken":{}}}',
    `{"name":"a","_meta":{"progressToken":"${'x'.repeat(2000)}"}}`,
  ]) {
    const outcome = call(params);
    assert.ok(isRefusal(outcome) && outcome.code === 'invalid-params', params);
  }
  const none = call('{"name":"a","names":1,"_meta":{"progressToken":null,"progress":1}}');
  assert.ok(!isRefusal(none) && none.progressToken === undefined && none.progressTokenSpan.at === -1);
  assert.ok(isRefusal(scanCallParams({ bytes: Buffer.alloc(0), params: ABSENT, inParams: undefined })));
});

test('finds members of any object and the parts of any call where JSON.parse sees them', () => {
  const value = fc.jsonValue({ maxDepth: 4 });
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme-ascii' }), value), fc.boolean(), (object, pretty) => {
      const bytes = Buffer.from(`[${JSON.stringify(object, null, pretty ? 1 : 0)}]`);
      const span = { at: 1, end: bytes.length - 1 };
      for (const [key, expected] of Object.entries(object)) {
        const found = memberSpan(bytes, span, key);
        assert.deepEqual(JSON.parse(bytes.toString('utf8', found.at, found.end)), JSON.parse(JSON.stringify(expected)));
      }
    }),
  );
  const token = fc.oneof(fc.integer(), fc.string({ maxLength: 20 }));
  fc.assert(
    fc.property(fc.string(), value, token, (name, args, progressToken) => {
      const bytes = Buffer.from(JSON.stringify({ _meta: { x: [name], progressToken }, arguments: args, name }));
      const call = bothCalls(bytes);
      assert.ok(!isRefusal(call));
      assert.equal(call.name, name);
      assert.deepEqual(JSON.parse(call.progressToken ?? ''), progressToken);
      const { at: from, end } = call.argumentsSpan;
      assert.deepEqual(JSON.parse(bytes.toString('utf8', from, end)), JSON.parse(JSON.stringify(args)));
    }),
  );
});

test('refuses server messages with any truncation or wrong bracket', () => {
  const text = JSON.stringify({
    jsonrpc: '2.0',
    id: 7,
    result: { a: [1, { b: `${'\\'.repeat(7)}"${'x'.repeat(200)}` }] },
  });
  for (let cut = 0; cut < text.length; cut += 1) codeOf(text.slice(0, cut), LOOSE);
  for (const [from, to] of [
    ['}]', ']}'],
    ['[1,', '[1'],
    [':7', '7'],
    ['[1,', '[01,'],
    ['{"b"', '{b'],
  ] as const)
    assert.equal(codeOf(text.replace(from, to), LOOSE), 'parse-error', from);
});

test('reads strings of escapes only in linear time, strict and not', () => {
  const text = Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', id: 1, result: '"'.repeat(2_000_000) + '\\'.repeat(2_000_000) }),
  );
  for (const options of [STRICT, LOOSE]) {
    const born = cpuMs();
    assert.ok(!isRefusal(scanEnvelope(text, options)));
    assert.ok(cpuMs() - born < 500, `${cpuMs() - born} ms`);
  }
});

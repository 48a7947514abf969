import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isRefusal } from '../model/outcome.ts';
import { answerScan, replyFault, replyNumber, scanAnswer, scanAnswers } from './answer.ts';
import { brokenAnswer } from './broken-message.ts';

const OPTIONS = { maxDepth: 64, maxIdBytes: 256, strict: true, repairBytes: 1000 } as const;

function faultIn(text: Buffer): string | undefined {
  const envelope = scanAnswer(text, OPTIONS);
  return isRefusal(envelope) ? envelope.message : replyFault(envelope);
}

/** Parses what a client reads: strict UTF-8, strict JSON, no lone surrogates. Throws for anything else. */
function strictly(text: Buffer): Record<string, unknown> {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text), (key, value: unknown) => {
    assert.ok(key.isWellFormed() && (typeof value !== 'string' || value.isWellFormed()), 'no lone surrogates');
    return value;
  }) as Record<string, unknown>;
}

function scanned(text: Buffer) {
  const envelope = scanAnswer(text, OPTIONS);
  assert.ok(!isRefusal(envelope), isRefusal(envelope) ? envelope.message : '');
  return envelope;
}

// finding: SR-N8
// case: CL30
test('passes on exactly what is valid JSON after its bytes were made valid UTF-8', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, isLong) => {
      const text = Buffer.concat([
        ...[Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"a":"'), Buffer.from(isLong ? 'x'.repeat(600) : '')],
        ...[Buffer.from(bytes), Buffer.from('"}}')],
      ]);
      let isValid = true;
      try {
        // A duplicate member is refused for other reasons.
        isValid = Object.keys(JSON.parse(text.toString('utf8')) as object).length === 3;
      } catch {
        isValid = false;
      }
      if (!isValid) assert.notEqual(faultIn(text), undefined);
      else {
        assert.equal(faultIn(text), undefined);
        assert.deepEqual(strictly(scanned(text).bytes), JSON.parse(text.toString('utf8')));
      }
    }),
    { numRuns: 2000 },
  );
});

test('replaces invalid UTF-8 by U+FFFD, up to the size limit', () => {
  const texts = ['\xc7\xd1', '\xe9', '\xc0\xaf', '\xed\xa0\xbd', '\xff', 'caf\xc3'];
  for (const text of texts) {
    const envelope = scanned(Buffer.from(`{"jsonrpc":"2.0","id":7,"result":{"a":"${text}","b":[1]}}`, 'latin1'));
    assert.equal(envelope.fault, undefined);
    assert.equal(envelope.repaired, 'it was not UTF-8');
    const { result } = strictly(envelope.bytes) as { result: { a: string; b: unknown } };
    assert.match(result.a, /^(caf)?\ufffd+$/);
    const { at, end } = envelope.result;
    assert.deepEqual(JSON.parse(envelope.bytes.toString('utf8', at, end)), result);
  }
  const large = Buffer.from(`{"jsonrpc":"2.0","id":7,"result":{"a":"\xff${'x'.repeat(1000)}"}}`, 'latin1');
  assert.equal(faultIn(large), 'it is not UTF-8');
});

test('replaces lone surrogates by U+FFFD, and keeps pairs and text that only looks like one', () => {
  const textOf = (json: string) => {
    const envelope = scanned(Buffer.from(`{"jsonrpc":"2.0","id":7,"result":{"a":"${json}"}}`));
    const { result } = strictly(envelope.bytes) as { result: { a: string } };
    return result.a;
  };
  for (const [given, read] of [
    ['a\\ud83d b', 'a\ufffd b'],
    ['\\uD83D', '\ufffd'],
    ['\\ude00', '\ufffd'],
    ['\\ud83d\\ud83d\\ude00', '\ufffd\u{1f600}'],
    ['\\ude00\\ud83d', '\ufffd\ufffd'],
    ['\\ud83d\\n', '\ufffd\n'],
    ['\\ud83d\\\\ude00', '\ufffd\\ude00'],
    ['\\\\ud83d', '\\ud83d'],
    ['\\ud83d\\ude00', '\u{1f600}'],
    ['\\uD83D\\uDE00 \\ud7ff\\ue000', '\u{1f600} \ud7ff\ue000'],
  ] as const) {
    assert.equal(textOf(given), read, given);
    assert.equal(
      textOf(`${'x'.repeat(5000)}${given}${'y'.repeat(5000)}`),
      `${'x'.repeat(5000)}${read}${'y'.repeat(5000)}`,
    );
  }
});

test('detects every control character and invalid escape at any position in a string', () => {
  const body = (at: number, what: string, length: number) =>
    Buffer.from(`{"jsonrpc":"2.0","id":7,"result":{"a":"${'x'.repeat(at)}${what}${'x'.repeat(length - at)}"}}`);
  for (let at = 0; at <= 700; at += 1) {
    for (const what of ['\t', '\0', '\x1f', '\\x', '\\u12'])
      assert.equal(
        faultIn(body(at, what, 700)),
        'a string holds what JSON does not allow',
        `${JSON.stringify(what)} ${at}`,
      );
    for (const what of ['\x20', '\x7f', '\u0080', '\\"', '\\u001f', '\\\\'])
      assert.equal(faultIn(body(at, what, 700)), undefined);
  }
});

test('keeps the envelope of a message with an invalid string and reports the fault', () => {
  const text = '{"jsonrpc":"2.0","id":7,"result":{"a":"\\q"}}';
  const envelope = scanAnswer(Buffer.from(text), OPTIONS);
  assert.ok(!isRefusal(envelope));
  assert.equal(envelope.fault, 'a string holds what JSON does not allow');
});

test('reads the other messages of a batch when one is invalid', () => {
  const text = '[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{"a":"\\q"}}]';
  const found = scanAnswers(Buffer.from(text), 10, OPTIONS);
  assert.ok(!isRefusal(found));
  assert.deepEqual(
    found.map((one) => (isRefusal(one) ? one.code : replyFault(one))),
    [undefined, 'a string holds what JSON does not allow'],
  );
});

test('reads an integer id in every spelling, and nothing else', () => {
  const of = (text: string) => replyNumber(Buffer.from(text), { at: 0, end: text.length });
  for (const [text, id] of [
    ...([
      ['5', 5],
      ['"5"', 5],
      ['5.0', 5],
      ['"5.0"', 5],
      ['819.2e1', 8192],
      ['8E2', 800],
    ] as const),
    ...([
      ['80e-1', 8],
      ['9007199254740991', 2 ** 53 - 1],
    ] as const),
  ])
    assert.equal(of(text), id, text);
  for (const text of ['', '-5', '5.5', 'null', '"a"', '""', '" 5"', '9007199254740993', '1e400', `"${'5'.repeat(70)}"`])
    assert.equal(of(text), undefined, text);
});

// finding: SR-A10
test('returns an error with one integer code and one message for anything a server sends', () => {
  const errorOf = (error: string) => {
    const text = Buffer.from(`{"error":${error},"jsonrpc":"2.0","id":1}`);
    const envelope = scanned(text);
    assert.equal(replyFault(envelope), undefined);
    const { at, end } = envelope.error;
    const read = strictly(envelope.bytes) as { error: unknown; id: unknown };
    assert.equal(envelope.bytes.toString('utf8', envelope.id.at, envelope.id.end), '1');
    assert.deepEqual(JSON.parse(envelope.bytes.toString('utf8', at, end)), read.error);
    return { error: read.error, isSame: envelope.bytes === text };
  };
  const unknown = 'The server returned an error without a message.';
  for (const [given, read] of [
    ['{"code":-32042,"message":"m"}', undefined],
    ['{"code":-32042,"message":"m","data":{"a":1},"more":2}', undefined],
    ['{"code":"E_FAIL","message":"m","data":{"a":[1]}}', { code: -32603, message: 'E_FAIL: m', data: { a: [1] } }],
    ['{"code":"-32602","message":"m"}', { code: -32602, message: 'm' }],
    ['{"code":1.5,"message":"m"}', { code: -32603, message: '1.5: m' }],
    ['{"code":1e99,"message":"m"}', { code: -32603, message: '1e+99: m' }],
    ['{"code":null,"message":"m"}', { code: -32603, message: 'm' }],
    ['{"message":"m"}', { code: -32603, message: 'm' }],
    ['{"code":-32602}', { code: -32602, message: unknown }],
    ['{"code":-32602,"message":null}', { code: -32602, message: unknown }],
    ['{"code":-32602,"message":{"text":"m"}}', { code: -32602, message: '{"text":"m"}' }],
    ['{"code":-32602,"message":["a\\ud83d"]}', { code: -32602, message: '["a\ufffd"]' }],
    ['"no such file"', { code: -32603, message: 'no such file' }],
    ['null', { code: -32603, message: unknown }],
    ['{}', { code: -32603, message: unknown }],
    ['["a"]', { code: -32603, message: '["a"]' }],
    ['{"code":-3.2042e4,"message":"m"}', { code: -32042, message: 'm' }],
    ['{"code":-32042.0,"message":"m"}', { code: -32042, message: 'm' }],
    ['{"code":1,"code":-32042,"message":"m"}', { code: -32042, message: 'm' }],
    ['{"code":1,"message":"m","cod\\u0065":-32042}', { code: -32042, message: 'm' }],
    ['{"code":1,"message":"m","message":"n"}', { code: 1, message: 'n' }],
  ] as const) {
    const { error, isSame } = errorOf(given);
    assert.deepEqual(error, read ?? JSON.parse(given), given);
    assert.equal(isSame, read === undefined, given);
  }
  const large = `{"jsonrpc":"2.0","id":1,"error":{"code":"E","message":"${'x'.repeat(1000)}"}}`;
  assert.equal(faultIn(Buffer.from(large)), 'its error is not an object with an integer code and a message');
});

test('repairs a large error in less than 20 ms', () => {
  const options = { ...OPTIONS, repairBytes: 1024 * 1024 };
  const members = Array.from({ length: 75_000 }, (_, at) => `"k${at}":1`).join(',');
  const values = '{"a":{}},'.repeat(100_000);
  for (const error of [`{"code":"E","data":{${members}}}`, `{"code":"E","message":{${members}}}`, `[${values}1]`]) {
    const text = Buffer.from(`{"jsonrpc":"2.0","id":1,"error":${error}}`);
    const costs = [1, 2, 3, 4, 5].map(() => {
      const before = process.threadCpuUsage();
      const reply = scanAnswer(text, options);
      const { user, system } = process.threadCpuUsage(before);
      assert.ok(!isRefusal(reply) && reply.fault === undefined && reply.repaired !== undefined);
      assert.equal((JSON.parse(reply.bytes.toString()) as { error: { code: number } }).error.code, -32603);
      return (user + system) / 1000;
    });
    assert.ok(Math.min(...costs) < 20, `${costs} ms for ${error.slice(0, 40)}`);
  }
});

// finding: SR-A10
test('refuses a message with too many values or members and still finds its id', () => {
  const options = answerScan({ bodyDepth: 64, idBytes: 256, answerValues: 1000, paramsMembers: 8, repairBytes: 1000 });
  const many = `[${'1,'.repeat(1000)}1]`;
  for (const text of [
    `{"jsonrpc":"2.0","id":7,"result":{"a":${many}}}`,
    `{"jsonrpc":"2.0","result":{"a":${many}},"id":7}`,
    `{"jsonrpc":"2.0","id":7,"result":{${Array.from({ length: 2000 }, (_, at) => `"a${at}":1`).join(',')}}}`,
  ]) {
    const bytes = Buffer.from(text);
    assert.ok(isRefusal(scanAnswer(bytes, options)), text.slice(0, 60));
    assert.deepEqual(brokenAnswer(bytes, 100, false).ids, [7]);
  }
  const params = (count: number) => Array.from({ length: count }, (_, at) => `"a${at}":1`).join(',');
  const notice = (count: number) =>
    scanAnswer(Buffer.from(`{"jsonrpc":"2.0","method":"m","params":{${params(count)}}}`), options);
  assert.equal(isRefusal(notice(8)), false);
  assert.ok(isRefusal(notice(9)));
});

// case: CL22
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import type { Envelope } from './message.ts';
import { withObjectParams } from './object-params.ts';
import { clientScan, paramSpan, scanEnvelope } from './scan.ts';

function scan(text: string): Envelope {
  const envelope = scanEnvelope(Buffer.from(text), clientScan(limitsFrom({})));
  assert.ok(!isRefusal(envelope));
  return envelope;
}

function paramsOf(text: string): string {
  const envelope = withObjectParams(scan(text));
  if (isRefusal(envelope)) return `${envelope.code}: ${envelope.message}`;
  const { at, end } = envelope.params;
  // The positions of the members are those in the changed text.
  for (const key of ['name', 'after'])
    if (paramSpan(envelope, key).at >= 0) {
      const span = paramSpan(envelope, key);
      assert.equal(envelope.bytes.toString('utf8', span.at, span.end), `"${key}"`);
    }
  return envelope.bytes.toString('utf8', at, end);
}

const call = (members: string, method = 'tools/call') =>
  `{"jsonrpc":"2.0","method":"${method}","params":{"name":"name",${members},"after":"after"},"id":1}`;

test('writes {} in place of an empty array or null where an object is required', () => {
  for (const empty of ['[]', 'null', '[ \n ]']) {
    const expected = '{"name":"name","arguments":{},"_meta":{},"after":"after"}';
    assert.equal(paramsOf(call(`"arguments":${empty},"_meta":${empty}`)), expected);
    assert.equal(paramsOf(call(`"arguments":${empty},"_meta":${empty}`, 'prompts/get')), expected);
    const context = '{"name":"name","context":{},"after":"after"}';
    assert.equal(paramsOf(call(`"context":${empty}`, 'completion/complete')), context);
  }
});

test('refuses a value of another type by name', () => {
  for (const wrong of ['[1]', '"{}"', '""', '7', 'false', '[[]]', '[null]']) {
    assert.equal(paramsOf(call(`"arguments":${wrong}`)), 'invalid-params: params.arguments must be an object.');
    assert.equal(paramsOf(call(`"_meta":${wrong}`, 'ping')), 'invalid-params: params._meta must be an object.');
  }
});

test('returns the same envelope for requests with objects, other methods and notifications', () => {
  for (const text of [
    call('"arguments":{"a":[]},"_meta":{"b":null}'),
    call('"arguments":[1]', 'ping'),
    '{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    '{"jsonrpc":"2.0","method":"notifications/progress","params":{"_meta":7}}',
  ]) {
    const envelope = scan(text);
    assert.equal(withObjectParams(envelope), envelope, text);
  }
});

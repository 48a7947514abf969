import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { paramSpan, scanEnvelope } from './scan.ts';
import { withoutParam } from './write.ts';

// case: SV67
test('removes a member of params at any position, and moves the positions of the others', () => {
  for (const params of [
    '{ "_meta" : {} , "name" : "a", "arguments":{"_meta":1}}',
    '{"name" : "a" , "_meta":{}, "arguments":{"_meta":1} }',
    '{"name":"a","arguments":{"_meta":1}, "_meta" : {} }',
    '{"_meta":{}}',
  ]) {
    const bytes = Buffer.from(`{"jsonrpc":"2.0","params":${params},"id":"é","method":"tools/call"}`);
    const envelope = scanEnvelope(bytes, { maxDepth: 64, maxIdBytes: 256, strict: true });
    assert.ok(!isRefusal(envelope));
    const clean = withoutParam(envelope, paramSpan(envelope, '_meta'));
    const { _meta, ...others } = JSON.parse(params);
    const whole = JSON.parse(clean.bytes.toString());
    assert.deepEqual(whole, { jsonrpc: '2.0', params: others, id: 'é', method: 'tools/call' });
    const at = (key: string) => clean.bytes.toString('utf8', paramSpan(clean, key).at, paramSpan(clean, key).end);
    assert.equal(paramSpan(clean, '_meta').at, -1);
    for (const [key, value] of Object.entries(others)) assert.deepEqual(JSON.parse(at(key)), value, params);
    assert.equal(clean.bytes.toString('utf8', clean.id.at, clean.id.end), '"é"');
  }
});

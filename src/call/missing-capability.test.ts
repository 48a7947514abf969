/** A capability that a server misses is one of the caller or of the hub; each caller gets the error of its era. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { CAPABILITY } from '../protocol/era-2025/initialize.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import { answerMissingCapability } from './missing-capability.ts';

const CLAIM: RequestMeta = {
  capabilityBits: CAPABILITY.elicitation,
  clientName: '',
  clientVersion: '',
  logLevel: undefined,
};
const TOOL = { server: 'a', tool: 't' };

function errorOf(requiredCapabilities: unknown, code = -32021): Buffer {
  return Buffer.from(JSON.stringify({ code, message: 'No.', data: { requiredCapabilities } }));
}

test('a caller of the stateless era who lacks it hears the same error', () => {
  const own = answerMissingCapability(errorOf({ sampling: {} }), CLAIM, TOOL);
  assert.ok(isRefusal(own));
  assert.deepEqual([own.code, own.message], ['capability-missing', 'No.']);
  assert.deepEqual(own.detail, { server: 'a', requiredCapabilities: { sampling: {} } });
  // One of several is enough.
  assert.ok(isRefusal(answerMissingCapability(errorOf({ elicitation: {}, roots: {} }), CLAIM, TOOL)));
  assert.ok(isRefusal(answerMissingCapability(errorOf({ elicitation: { url: {} } }), CLAIM, TOOL)));
});

test('what the caller has, or the hub knows nothing of, is not said to be the caller’s lack', () => {
  for (const required of [{ elicitation: {} }, { extensions: { x: {} } }, {}]) {
    const reply = answerMissingCapability(errorOf(required), CLAIM, TOOL);
    assert.ok(reply && !isRefusal(reply) && reply.kind === 'result');
    assert.match(reply.json.toString(), /"isError":true/);
    assert.ok(reply.json.toString().includes('interactive'));
  }
});

test('a client of the 2025 dates has no such code: a tool ends in words, anything else with an error that it knows', () => {
  const said = answerMissingCapability(errorOf({ sampling: {} }), undefined, TOOL);
  assert.ok(said && !isRefusal(said) && said.kind === 'result');
  const text = 'No. It needs a client that declares {"sampling":{}}.';
  assert.deepEqual(JSON.parse(said.json.toString()), { content: [{ type: 'text', text }], isError: true });
  const prompt = answerMissingCapability(errorOf({ sampling: {} }), undefined, { server: 'a', tool: undefined });
  assert.ok(prompt && !isRefusal(prompt) && prompt.kind === 'error');
  assert.deepEqual(JSON.parse(prompt.json.toString()), { code: -32603, message: text });
});

test('any other error is another matter', () => {
  for (const json of [
    errorOf({ sampling: {} }, -32603),
    errorOf(['sampling']),
    errorOf(undefined),
    Buffer.from('{"code":-32603,"message":"-32021"}'),
    Buffer.from('{"code":-32021}'),
  ])
    assert.equal(answerMissingCapability(json, CLAIM, TOOL), undefined, json.toString());
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientError, publicSentence } from './client-error.ts';
import { ERRORS, type ErrorCode, HubError, isOperatorOnly } from './errors.ts';
import { Refusal } from './outcome.ts';

const SECRET = 'CANARY /srv/secret http://user:pw@10.0.0.1/';

test('a client reads the message of a refusal about its own request', () => {
  const { message, code } = clientError(new Refusal('invalid-params', 'params.name must be a string.'));
  assert.deepEqual([message, code], ['params.name must be a string.', -32602]);
});

test('a client never reads the message or the operator part of a failure of a server, whatever the code', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    if (!isOperatorOnly(code)) continue;
    const fault = new HubError(code, { message: SECRET, detail: { server: 'git', operator: { body: SECRET } } });
    assert.equal(JSON.stringify(clientError(fault)).includes('CANARY'), false, code);
    assert.match(clientError(fault).message, /^git: /, code);
  }
});

test('a member of a detail that has no rule, or does not look like a word, stays behind', () => {
  const detail = { server: SECRET, phase: SECRET, reason: SECRET, signal: SECRET, setting: SECRET, path: SECRET };
  const shown = clientError(new Refusal('upstream-exit', undefined, detail));
  assert.equal(JSON.stringify(shown).includes('CANARY'), false);
  assert.deepEqual(shown.data, { code: 'upstream-exit', retryable: true });
});

test('the sentence names server, phase, HTTP status, setting and reference', () => {
  const sentence = publicSentence('upstream-http', {
    ...{ server: 'docs', phase: 'answer', status: 500, setting: 'listMs', retryAfterMs: 1500, reference: '1a2b3c4d' },
  });
  assert.equal(
    sentence,
    'docs: The server answered with an HTTP error (phase answer, HTTP 500, setting listMs, retry in 2 s, reference 1a2b3c4d).',
  );
});

test('each failure of a server has its own reference, and a failure made from it keeps it', () => {
  const first = new HubError('upstream-exit');
  assert.match(first.detail.reference ?? '', /^[0-9a-f]{8}$/);
  assert.notEqual(new HubError('upstream-exit').detail.reference, first.detail.reference);
  const next = new HubError('upstream-gone', { detail: first.detail });
  assert.equal(next.detail.reference, first.detail.reference);
});

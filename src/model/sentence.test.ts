import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sentence, withoutStop } from './sentence.ts';

test('a text ends as a sentence, once', () => {
  for (const text of ['It broke', 'It broke.', 'It broke..', 'It broke. ', 'It broke.\n.'])
    assert.equal(sentence(text), 'It broke.', JSON.stringify(text));
  for (const text of ['Did it?', 'Stop!', 'and so on…']) assert.equal(sentence(text), text);
  for (const text of ['', '.', ' . ']) assert.equal(sentence(text), '');
  assert.equal(withoutStop('It broke. '), 'It broke');
});

test('takes linear time', () => {
  const startMs = performance.now();
  sentence(`${'. '.repeat(500_000)}x`);
  assert.ok(performance.now() - startMs < 1000);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { UnownedAnswers } from './unowned-answers.ts';

function table() {
  const frozen = frozenRuntime();
  const ended: string[] = [];
  const answers = new UnownedAnswers(frozen.runtime);
  const add = (name: string, ids: number[]) =>
    answers.add(ids, (id) => {
      ended.push(`${name}:${id}`);
      answers.ended(id, true);
    });
  return { ...frozen, answers, ended, add };
}

test('ends the only pending request at once', () => {
  const { ended, add } = table();
  add('a', [7]);
  assert.deepEqual(ended, ['a:7']);
});

test('ends the request that is left when all others have got an answer, a second later', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2, 3]);
  answers.ended(2, true);
  answers.ended(9, true);
  advance(5000);
  assert.deepEqual(ended, []);
  answers.ended(1, true);
  assert.deepEqual(ended, []);
  advance(1100);
  assert.deepEqual(ended, ['a:3']);
});

test('leaves the request that is left alone when its own answer comes within the second', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  answers.ended(1, true);
  answers.ended(2, true);
  advance(1100);
  assert.deepEqual(ended, []);
});

test('ends nothing while a request that was cancelled may still be answered', () => {
  const { answers, ended, add, advance } = table();
  answers.ended(9, false);
  add('a', [1]);
  add('b', [1, 2]);
  answers.ended(2, true);
  advance(29_000);
  assert.deepEqual(ended, []);
  advance(1500);
  add('c', [1]);
  assert.deepEqual(ended, ['c:1']);
});

test('counts a request once whose end is near', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  answers.ended(2, true);
  add('b', [1, 3]);
  assert.deepEqual(ended, []);
  answers.ended(3, true);
  advance(1100);
  assert.deepEqual(ended, ['a:1']);
});

test('ends nothing when one of the requests ended without an answer, for it may be the late one', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  answers.ended(1, false);
  answers.ended(2, true);
  advance(1100);
  assert.deepEqual(ended, []);
});

test('ends all when there are as many answers as requests', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2, 3]);
  add('b', [1, 2]);
  advance(1100);
  assert.deepEqual(ended, []);
  answers.ended(2, true);
  advance(1100);
  assert.deepEqual(ended.sort(), ['a:3', 'b:1']);
});

test('keeps eight answers, whatever comes', () => {
  const { answers, ended, add, advance } = table();
  const ids = Array.from({ length: 50 }, (_, id) => id);
  for (let nth = 0; nth < 100; nth += 1) add(String(nth), ids);
  for (let id = 0; id < 42; id += 1) answers.ended(id, true);
  advance(1100);
  assert.equal(ended.length, 8);
});

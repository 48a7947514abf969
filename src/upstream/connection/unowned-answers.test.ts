import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { UnownedAnswers } from './unowned-answers.ts';

/** Ends are noted as `name:id`, with a question mark when the answer may have been for another request. */
function table() {
  const frozen = frozenRuntime();
  const ended: string[] = [];
  const answers = new UnownedAnswers(frozen.runtime);
  const add = (name: string, ids: number[], { newest = ids.at(-1) ?? 0, isDoubtful = false } = {}) =>
    answers.add({
      pending: ids,
      newest,
      isDoubtful,
      keep: () => (id, isOwn) => {
        ended.push(`${name}:${id}${isOwn ? '' : '?'}`);
        answers.ended(id, true);
      },
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

test('ends what a request that was cancelled may have meant only after half a minute, without the text', () => {
  const { answers, ended, add, advance } = table();
  answers.ended(9, false);
  add('a', [1]);
  add('b', [1, 2, 3]);
  answers.ended(2, true);
  advance(29_000);
  assert.deepEqual(ended, []);
  answers.ended(3, true);
  advance(1500);
  assert.deepEqual(ended, ['a:1?']);
  advance(31_000);
  add('c', [4]);
  assert.deepEqual(ended, ['a:1?', 'c:4']);
});

test('ends nothing that answers, or shows a sign of life, before a doubt is over', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2], { isDoubtful: true });
  add('a', [1, 2], { isDoubtful: true });
  advance(29_000);
  answers.ended(1, true);
  answers.alive(2);
  advance(60_000);
  assert.deepEqual(ended, []);
});

test('has no doubt once the cancelled requests have got their answers', () => {
  const { answers, ended, add } = table();
  answers.ended(8, false);
  answers.ended(9, false);
  answers.late(8);
  add('late', [], { newest: 9 });
  add('a', [10]);
  assert.deepEqual(ended, ['a:10']);
  for (let id = 20; id < 26; id += 1) answers.ended(id, false);
  for (let nth = 0; nth < 6; nth += 1) add('late', [30, 31, 32, 33, 34, 35, 36]);
  for (let id = 30; id <= 36; id += 1) answers.ended(id, true);
  add('b', [40]);
  assert.deepEqual(ended, ['a:10', 'b:40']);
});

test('has a doubt while more requests were cancelled than it can know', () => {
  const { answers, ended, add, advance } = table();
  for (let id = 0; id < 1000; id += 1) answers.ended(id, false);
  for (let id = 0; id < 1000; id += 1) answers.late(id);
  add('a', [2000]);
  advance(29_000);
  assert.deepEqual(ended, []);
  advance(1500);
  assert.deepEqual(ended, ['a:2000?']);
});

test('has a doubt when one of the requests ended without an answer', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  answers.ended(1, false);
  advance(29_000);
  assert.deepEqual(ended, []);
  advance(1500);
  assert.deepEqual(ended, ['a:2?']);
  add('of 2', [3]);
  assert.deepEqual(ended, ['a:2?'], 'the answer of 2 may still come');
});

test('counts a request once whose end is near', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  answers.ended(2, true);
  add('b', [1, 3]);
  assert.deepEqual(ended, []);
  advance(1100);
  assert.deepEqual(ended.sort(), ['a:1', 'b:3']);
});

test('ends all when there are as many answers as requests', () => {
  const { answers, ended, add, advance } = table();
  add('a', [1, 2]);
  add('b', [1, 2, 3]);
  advance(1100);
  assert.deepEqual(ended, []);
  answers.ended(2, true);
  advance(1100);
  assert.deepEqual(ended.sort(), ['a:1', 'b:3']);
  add('c', [4, 5]);
  add('d', [4, 5, 6]);
  add('e', [4, 5, 6, 7], { newest: 7 });
  add('e', [4, 5, 6, 7], { newest: 7 });
  advance(1100);
  assert.deepEqual(ended.slice(2).sort(), ['c:4?', 'c:5?', 'c:6?', 'c:7?']);
});

test('twelve requests that are all answered so end together', () => {
  const { ended, add, advance } = table();
  const ids = Array.from({ length: 12 }, (_, id) => id);
  for (const _ of ids) add('a', ids);
  advance(1100);
  assert.deepEqual(ended.sort(), ids.map((id) => `a:${id}?`).sort());
});

test('keeps a count of a flood, and sets of requests for eight answers', () => {
  const { answers, ended, add, advance } = table();
  const ids = Array.from({ length: 50 }, (_, id) => id);
  let kept = 0;
  for (let nth = 0; nth < 1000; nth += 1) if (add('same', ids.slice(0, 20), { newest: 20 })) kept += 1;
  assert.equal(kept, 20);
  advance(1100);
  assert.equal(ended.length, 20);
  for (let nth = 0; nth < 100; nth += 1) add(String(nth), ids.slice(20), { newest: 50 + nth });
  for (let id = 20; id < 49; id += 1) answers.ended(id, true);
  advance(1100);
  assert.deepEqual(ended.slice(20), ['0:49?']);
});

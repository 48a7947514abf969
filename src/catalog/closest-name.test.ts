// case: CL28
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closestName, suggestion } from './closest-name.ts';

const named = (server: string, ...natives: string[]) =>
  natives.map((native) => ({ exposed: `${server}_${native.replaceAll('-', '_')}`, native }));
const CANDIDATES = [
  ...named('github', 'create_issue', 'list_issues', 'search_code'),
  ...named('everything', 'echo', 'get-tiny-image'),
];

test('suggests the closest name, with or without the server prefix', () => {
  for (const [wanted, closest] of [
    ['github_create_isue', 'github_create_issue'],
    ['githubcreateissue', 'github_create_issue'],
    ['GITHUB.CREATE.ISSUE', 'github_create_issue'],
    ['create_issues', 'github_create_issue'],
    ['list-issue', 'github_list_issues'],
    ['everything_ecko', 'everything_echo'],
    ['ecko', 'everything_echo'],
    ['get_tiny_images', 'everything_get_tiny_image'],
  ] as const)
    assert.equal(closestName(wanted, CANDIDATES), closest, wanted);
});

test('suggests nothing when no name is close', () => {
  for (const wanted of ['', 'x', 'delete_repository', 'e', '___', 'weather', 'y'.repeat(5000)])
    assert.equal(closestName(wanted, CANDIDATES), undefined, wanted);
  assert.equal(suggestion('a', undefined), '');
  assert.equal(suggestion('a', 'b'), '. Did you mean "b"?');
});

test('limits the number of comparisons for any names', () => {
  let seen = 0;
  function* many() {
    for (; seen < 1_000_000; seen += 1) yield { exposed: `server_${'a'.repeat(60)}${seen}`, native: 'a'.repeat(60) };
  }
  closestName('b'.repeat(64), many());
  assert.ok(seen <= 2000, `${seen} names`);
});

test('limits the characters read of long names, including punctuation', () => {
  for (const part of ['ab_', '.', 'ÄB-', '_😀']) {
    let seen = 0;
    function* many() {
      for (; seen < 2000; seen += 1) {
        const name = `${part.repeat(48)}${seen}`.slice(-100);
        yield { exposed: name, native: name };
      }
    }
    assert.equal(closestName('q'.repeat(60), many()), undefined);
    assert.ok(seen <= 700, `${seen} names of ${part}`);
  }
});

/**
 * Law 5 for regular expressions: none takes more than linear time on a text of 8 KiB, whatever the text is.
 * covers: L5
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { regexpsIn, slowestMs } from './_regexps.ts';
import { readTree, snippet } from './_tree.ts';

/** Quadratic time on 8 KiB takes 40 ms and more, linear time less than 0.2 ms. */
const MOST_MS = 15;

/** Texts that these see are bounded to a length at which they cost less than a millisecond. */
const BOUNDED: Readonly<Record<string, string>> = {
  'config/quantity.ts \\B(?=(\\d{3})+$)': 'the digits of one number',
};

const found = readTree().flatMap(regexpsIn);

test('no regular expression of src/ takes more than linear time on hostile text', () => {
  assert.ok(found.length > 80, `${found.length} found`);
  const slow = found.flatMap((one) => {
    const { ms, text } = slowestMs(one);
    const key = `${one.place.replace(/:\d+$/, '')} ${one.source}`;
    return ms > MOST_MS && !(key in BOUNDED)
      ? [`${one.place} /${one.source}/ ${ms.toFixed(0)} ms: ${JSON.stringify(text.slice(0, 30))}`]
      : [];
  });
  assert.deepEqual(slow, []);
});

test('expressions are written as literals, so that this rule sees them', () => {
  const hidden = readTree().filter((file) => /\bRegExp\s*\(/.test(file.bare));
  assert.deepEqual(
    hidden.map((file) => file.path),
    [],
  );
});

test('the rule finds quadratic and exponential expressions', () => {
  const bad = [
    String.raw`/\u001b\[[0-9;?<=>!]*[ -/]*[@-~]/g`,
    String.raw`/\r+$/`,
    '/^(a+)+$/',
    String.raw`/\s*,\s*;/`,
    String.raw`/^x[\w.]*[\w-]*@/`,
  ];
  for (const literal of bad) {
    const [one] = regexpsIn(snippet(`/** x */\nconst a = ${literal};`));
    assert.ok(one, literal);
    assert.ok(slowestMs(one, 100).ms > MOST_MS, literal);
  }
  for (const literal of [String.raw`/\u001b\[[0-?]*[ -/]*[@-~]/g`, String.raw`/^\s*\}/`, '/[^a-z]+/g']) {
    const [one] = regexpsIn(snippet(`/** x */\nconst a = ${literal};`));
    assert.ok(one && slowestMs(one).ms <= MOST_MS, literal);
  }
});

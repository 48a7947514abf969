/** A message that was walked over in steps before it is read gives the same result as one that was not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { answerScan, answerSteps, memberSteps, membersAt, scanAnswer } from './answer.ts';
import { elementSpans, elementSteps } from './elements.ts';
import { scanEnvelope } from './scan.ts';
import { walkMessage } from './scan-steps.ts';

const LIMITS = { bodyDepth: 12, idBytes: 256, repairBytes: 1024 * 1024, answerValues: 500_000, paramsMembers: 64 };
const OPTIONS = answerScan(LIMITS);
const TEXTS = [
  '',
  'a',
  'x'.repeat(70),
  '"q"',
  'a\\b\n',
  '한글 😀',
  '\u0001'.slice(1),
  'y'.repeat(900),
  '\\"'.repeat(40),
  '\\'.repeat(300),
];
/** Numbers of any length, and texts that are not numbers. */
const NUMBERS = [
  '1'.repeat(200),
  `-0.${'0'.repeat(90)}`,
  `${'9'.repeat(70)}.5e-${'1'.repeat(80)}`,
  '1e+5',
  '-0',
  '0.5E3',
];
const NO_NUMBERS = [
  `0${'1'.repeat(90)}`,
  `${'1'.repeat(90)}.`,
  `1e${'+'.repeat(2)}`,
  `${'1'.repeat(70)}.5.5`,
  '-',
  `1e${'1'.repeat(80)}e1`,
];

/** Returns a pseudo-random number generator that gives the same sequence in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function value(next: (below: number) => number, depth: number): unknown {
  const kind = next(depth > 5 ? 5 : 9);
  if (kind === 0) return null;
  if (kind === 1) return next(1_000_000) / 8;
  if (kind === 2) return next(2) === 0;
  if (kind < 5) return TEXTS[next(TEXTS.length)];
  const count = next(6);
  if (kind < 7) return Array.from({ length: count }, () => value(next, depth + 1));
  return Object.fromEntries(
    Array.from({ length: count }, (_, at) => [`k${at}${TEXTS[next(TEXTS.length)]}`, value(next, depth + 1)]),
  );
}

function message(next: (below: number) => number): Buffer {
  const member =
    next(6) === 0 ? { error: { code: -1, message: 'no', data: value(next, 0) } } : { result: value(next, 0) };
  const text = JSON.stringify({ jsonrpc: '2.0', id: next(9), ...member, more: value(next, 2) }, null, next(3));
  const numbers = next(9) === 0 ? NO_NUMBERS : NUMBERS;
  const spaced =
    next(3) > 0
      ? text
      : text.replaceAll(/[:,[\]{}]/g, (sign) => (next(20) > 0 ? sign : `${sign}${' \n'.repeat(next(90))}`));
  const bytes = Buffer.from(
    spaced.replaceAll('true', () => (next(2) === 0 ? 'true' : (numbers[next(numbers.length)] as string))),
  );
  // Half of the texts are invalid somewhere, or nested too deeply.
  const fault = next(8);
  if (fault === 0) bytes[next(bytes.length)] = next(256);
  if (fault === 1) return bytes.subarray(0, next(bytes.length));
  if (fault === 2) return Buffer.from(text.replace('null', `${'['.repeat(next(14))}1${']'.repeat(next(14))}`));
  if (fault === 3) return Buffer.from(text.replace('"a"', '"\\ud800"'));
  return bytes;
}

for (const strict of [true, false])
  test(`gives the same result in ${strict ? 'strict' : 'loose'} text for any step size`, () => {
    const next = numbers(strict ? 7 : 8);
    const seen = { read: 0, refused: 0, pauses: 0 };
    for (let round = 0; round < 6000; round += 1) {
      const bytes = message(next);
      const isFew = next(3) === 0;
      const answerBounds = isFew ? { ...LIMITS, answerValues: 10 + next(20) } : LIMITS;
      const options = { ...OPTIONS, strict, answerBounds };
      const steps = walkMessage(bytes, options, { stepBytes: 1 + next(60), largeBytes: 1 + next(30) });
      let step = steps.next();
      for (; !step.done; step = steps.next()) seen.pauses += 1;
      const plain = scanEnvelope(bytes, options);
      const found = scanEnvelope(bytes, { ...options, walked: step.value });
      // When there are too many values and another fault, either may be reported.
      if (isFew && isRefusal(plain)) assert.ok(isRefusal(found), bytes.toString());
      else assert.deepEqual(found, plain, bytes.toString());
      if (isRefusal(plain)) seen.refused += 1;
      else seen.read += 1;
    }
    assert.ok(seen.read > 1000 && seen.refused > 1000 && seen.pauses > 20_000, JSON.stringify(seen));
  });

function run<T>(steps: Generator<void, T>): { value: T; pauses: number } {
  for (let pauses = 0; ; pauses += 1) {
    const step = steps.next();
    if (step.done) return { value: step.value, pauses };
  }
}

const reply = (result: object | string): Buffer =>
  Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${typeof result === 'string' ? result : JSON.stringify(result)}}`);
const LONG: Readonly<Record<string, Buffer>> = {
  'a list': reply({ tools: Array.from({ length: 1500 }, (_, at) => ({ name: `n${at}`, text: 'long '.repeat(400) })) }),
  'one text': reply({ content: [{ type: 'text', text: '"line\n'.repeat(400_000) }] }),
  'a list of depth 13': reply(
    `{"tools":[${`${'['.repeat(13)}"${'x'.repeat(2000)}"${']'.repeat(13)},`.repeat(1500)}1]}`,
  ),
  'text that is not UTF-8': Buffer.concat([reply({ text: 'a'.repeat(3_000_000) }), Buffer.from([0xff])]),
  'too many values': reply(`[${'1,'.repeat(1_000_000)}1]`),
};

for (const [what, bytes] of Object.entries(LONG))
  test(`reads ${what} of megabytes in several steps with the same result`, () => {
    const { value: found, pauses } = run(answerSteps(bytes, OPTIONS));
    assert.deepEqual(found, scanAnswer(bytes, OPTIONS));
    // Text without escapes is searched natively.
    if (what !== 'text that is not UTF-8') assert.ok(pauses >= 1, `${pauses} pauses`);
  });

test('finds the rows of a long list in several steps, up to a number and a size', () => {
  const whole = LONG['a list'] as Buffer;
  const json = whole.subarray(whole.indexOf('{"tools"'), -1);
  const { value: spans, pauses } = run(memberSteps(json, ['tools', 'nextCursor']));
  assert.deepEqual(spans, membersAt(json, ['tools', 'nextCursor']));
  assert.ok(pauses >= 4, `${pauses} pauses`);
  const list = spans[0] ?? { at: -1, end: -1 };
  for (const [max, bytes] of [
    [5000, 1e9],
    [700, 1e9],
    [5000, 1_500_000],
    [5000, 100],
    [1500, 1e9],
  ] as const)
    assert.deepEqual(run(elementSteps(json, list, max, bytes)).value, elementSpans(json, list, max, bytes));
  assert.ok(run(elementSteps(json, list, 5000, 1e9)).pauses >= 4);
});

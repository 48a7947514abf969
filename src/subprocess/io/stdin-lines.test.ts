import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import fc from 'fast-check';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { StdinQueue } from './stdin-queue.ts';

/** Returns what a child reads of these messages. */
async function written(frames: readonly Buffer[]): Promise<string> {
  const stream = new PassThrough();
  const { runtime } = frozenRuntime();
  using queue = new StdinQueue(stream, {
    ...{ runtime, maxBytes: 2 ** 24, stuckMs: 1000 },
    ...{ stuck: () => {}, broken: () => {} },
  });
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  for (const frame of frames) assert.ok(queue.push(frame));
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return text;
}

// case: SV42
test('each message is one line in the eyes of every reader, and means the same', async () => {
  const texts = fc.array(
    fc.string({ unit: fc.constantFrom('a', '\u2028', '\u2029', '\u2030', '\u2020', '한', '\n', '\\', '"', '\u0085') }),
    { minLength: 1, maxLength: 5 },
  );
  await fc.assert(
    fc.asyncProperty(texts, fc.boolean(), async (values, isPretty) => {
      const frames = values.map((value) => ({ [value]: [value], _meta: { x: value } }));
      const text = await written(frames.map((frame) => Buffer.from(JSON.stringify(frame, null, isPretty ? 2 : 0))));
      const lines = text.split(/[\n\r\u2028\u2029]/).filter((line) => line !== '');
      assert.deepEqual(
        lines.map((line): unknown => JSON.parse(line)),
        frames,
      );
    }),
    { numRuns: 50 },
  );
});

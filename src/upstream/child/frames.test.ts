/** Messages that come in one piece, however many, are handed on in small turns of the loop. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { until } from '../../../test/support/hub.ts';
import { limitsFrom } from '../../config/limits.ts';
import { createKernel } from '../../kernel/kernel.ts';
import { answerScan } from '../../protocol/answer.ts';
import { Frames } from './frames.ts';

const COUNT = 100_000;
/** Of a turn, by the time this thread was at work. The promise is 50 ms; all at once are 200 ms and more. */
const TURN_MS = 50;

// row B12 · guards src/upstream/child/frames.ts
test('a hundred thousand notifications in one write: the loop turns in between', async () => {
  const kernel = createKernel();
  const stream = new Readable({ read() {}, highWaterMark: 64 * 2 ** 20 });
  let count = 0;
  const frames = new Frames(stream, {
    ...{ kernel, maxLineBytes: 16 * 2 ** 20, maxBatch: 100 },
    ...{ scan: answerScan(limitsFrom({})) },
    ...{
      alive: () => {},
      said: () => {},
      unreadable: () => {},
      tooLong: () => assert.fail('too long'),
      ended: () => {},
    },
    message: () => {
      count += 1;
    },
  });
  let longestUs = 0;
  let isOver = false;
  let before = process.threadCpuUsage();
  const turn = (): void => {
    const now = process.threadCpuUsage();
    longestUs = Math.max(longestUs, now.user + now.system - before.user - before.system);
    before = now;
    if (!isOver) setImmediate(turn);
  };
  const line = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n';
  const flood = Buffer.from(line.repeat(COUNT));
  before = process.threadCpuUsage();
  setImmediate(turn);
  stream.push(flood);
  await until(() => count === COUNT, 20_000, 'all of them');
  isOver = true;
  turn(); // the one that is just over
  frames.mute();
  assert.ok(longestUs / 1000 < TURN_MS, `a turn of ${longestUs / 1000} ms`);
  await kernel.scope.close(kernel.deadline(1000));
});

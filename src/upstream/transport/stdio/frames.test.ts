/** Messages that come in one piece are handed on in short turns of the event loop. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { frozenRuntime } from '../../../../test/support/frozen-runtime.ts';
import { until } from '../../../../test/support/hub.ts';
import { limitsFrom } from '../../../config/limits.ts';
import { answerScan } from '../../../protocol/answer.ts';
import { createRuntime } from '../../../runtime/runtime.ts';
import { Frames } from './frames.ts';

const COUNT = 100_000;
/** CPU time of this thread in a turn. The limit is 50 ms; all messages at once take 200 ms and more. */
const TURN_MS = 50;

// row B12 · guards src/upstream/transport/stdio/frames.ts
test('a hundred thousand notifications in one write: the loop turns in between', async () => {
  const runtime = createRuntime();
  const stream = new Readable({ read() {}, highWaterMark: 64 * 2 ** 20 });
  let count = 0;
  const frames = new Frames(stream, {
    ...{ runtime, server: 's', maxLineBytes: 16 * 2 ** 20, maxBatch: 100 },
    ...{ scan: answerScan(limitsFrom({})), quoted: { may: false } },
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
  turn(); // the current one
  frames.mute();
  assert.ok(longestUs / 1000 < TURN_MS, `a turn of ${longestUs / 1000} ms`);
  await runtime.scope.close(runtime.deadline(1000));
});

const ask = (id: number) => `{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"a b"}]}}`;

/** Frames that read what the test writes, on a clock of their own. */
function reader() {
  const frozen = frozenRuntime();
  const stream = new Readable({ read() {} });
  const messages: string[] = []; // bounded by: one test
  const unreadable: (readonly number[])[] = []; // bounded by: one test
  const frames = new Frames(stream, {
    ...{ runtime: frozen.runtime, server: 's', maxLineBytes: 2 ** 20, maxBatch: 100, scan: answerScan(limitsFrom({})) },
    ...{ quoted: { may: false }, alive: () => {}, said: () => {}, tooLong: () => {}, ended: () => {} },
    message: ({ bytes, repaired }) =>
      messages.push(`${repaired === undefined ? '' : 'repaired '}${JSON.stringify(JSON.parse(bytes.toString()))}`),
    unreadable: (ids) => unreadable.push(ids),
  });
  const write = async (text: string | Buffer) => {
    stream.push(text);
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return { ...frozen, frames, messages, unreadable, write };
}

// case: SV49
test('two answers mixed in one line are both named', async () => {
  const { write, unreadable, messages } = reader();
  await write(`${ask(5).slice(0, 60)}${ask(6)}\n${ask(5).slice(60)}\n`);
  assert.deepEqual(unreadable, [[5, 6]]);
  assert.deepEqual(messages, []);
});

// case: SV48
test('messages in one line, and one on several lines, are taken', async () => {
  const { write, messages, unreadable } = reader();
  await write(`${ask(1)}${ask(2)} ${ask(3)}\n`);
  await write(`${JSON.stringify(JSON.parse(ask(4)), null, 2)}\n${ask(5)}\n`);
  assert.deepEqual(messages, [...[1, 2, 3, 4].map((id) => `repaired ${ask(id)}`), ask(5)]);
  assert.deepEqual(unreadable, []);
});

test('a message between the lines of another object is taken, and the object is not lost', async () => {
  const { write, messages } = reader();
  const [first = '', ...others] = JSON.stringify(JSON.parse(ask(4)), null, 2).split('\n');
  await write(`${first}\n${ask(5)}\n${others.join('\n')}\n`);
  assert.deepEqual(messages, [ask(5), `repaired ${ask(4)}`]);
});

// case: SV48
test('an object whose end does not come is given up after a moment, with its request', async () => {
  const { write, unreadable, advance } = reader();
  await write('{"jsonrpc":"2.0","id":7,"result":{\n');
  assert.deepEqual(unreadable, []);
  advance(1000);
  assert.deepEqual(unreadable, [[7]]);
  await write('}}\n');
  assert.deepEqual(unreadable, [[7]]);
});

// case: SV48
test('text before a message leaves time for a better answer', async () => {
  const { write, unreadable, messages, advance } = reader();
  await write(`sending ${ask(7)}\n${ask(7)}\n`);
  assert.deepEqual([messages, unreadable], [[ask(7)], []]);
  advance(1000);
  // The request has ended by then, so that this ends nothing.
  assert.deepEqual(unreadable, [[7]]);
});

test('a message is not taken from a longer one that is still being written', async () => {
  const { write, messages, advance } = reader();
  await write(`${ask(7).slice(0, -1)}`);
  advance(1000);
  assert.deepEqual(messages, []);
  await write('}\n');
  assert.deepEqual(messages, [ask(7)]);
  await write(ask(8));
  advance(1000);
  await write('\n');
  assert.deepEqual(messages, [ask(7), ask(8)]);
});

test('objects that are no messages, and lines of logs, end nothing', async () => {
  const { write, unreadable, messages, advance } = reader();
  await write('{\n  foo: 1,\n  bar: \'x\'\n}\n{\n"level": "info"\n}\n[DONE]\n{"id":7,"msg":"x"\n');
  advance(1000);
  assert.deepEqual([messages, unreadable], [[], []]);
});

import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { FakeResponse } from '../../test/support/fake-response.ts';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { accessOf } from '../../test/support/small-worlds.ts';
import type { Incoming, Reply, RequestContext } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Outcome } from '../model/outcome.ts';
import { createBatch } from './batch.ts';

const SENDER = { context: {} as RequestContext, caller: { ...accessOf('alice'), owner: 'alice' } };
const REQUEST = { headers: {} } as IncomingMessage;
const { runtime } = frozenRuntime();

function batchOf(ids: readonly number[]): Buffer {
  return Buffer.from(JSON.stringify(ids.map((id) => ({ jsonrpc: '2.0', id, method: 'tools/call' }))));
}

/** A pipeline whose calls the test answers, by id. */
function scriptedLine() {
  const calls = new Map<string, { answer(outcome: Outcome<Reply>): void; cancelled: boolean }>();
  const pipeline = {
    findSession: () => undefined,
    answer({ envelope, onGone }: Incoming) {
      const id = envelope.bytes.subarray(envelope.id.at, envelope.id.end).toString();
      const { promise, resolve } = Promise.withResolvers<Outcome<Reply>>();
      const call = { answer: resolve, cancelled: false };
      calls.set(id, call);
      onGone(() => {
        call.cancelled = true;
        resolve({ kind: 'result', json: Buffer.from('"cancelled"') });
      });
      return promise;
    },
  } as unknown as RequestPipeline;
  return { pipeline, calls };
}

const result = (json: string): Reply => ({ kind: 'result', json: Buffer.from(json) });

test('a batch is answered by one array in the order of its messages', async () => {
  const { pipeline, calls } = scriptedLine();
  const response = new FakeResponse();
  const done = createBatch({ runtime, limits: limitsFrom({}), pipeline })(
    REQUEST,
    response.asResponse(),
    batchOf([1, 2]),
    SENDER,
  );
  calls.get('2')?.answer(result('"b"'));
  calls.get('1')?.answer(result('"a"'));
  await done;
  const answers = JSON.parse(response.text) as { id: number; result: string }[];
  assert.deepEqual(
    answers.map(({ id, result: text }) => [id, text]),
    [
      [1, 'a'],
      [2, 'b'],
    ],
  );
  assert.equal(response.headers['content-length'], Buffer.byteLength(response.text));
});

// finding: SR-M5
test('a batch whose answers exceed batchAnswerBytes cancels the remaining calls and answers each with an error', async () => {
  const { pipeline, calls } = scriptedLine();
  const response = new FakeResponse();
  const limits = limitsFrom({ batchAnswerBytes: 65_536 });
  const done = createBatch({ runtime, limits, pipeline })(
    REQUEST,
    response.asResponse(),
    batchOf([1, 2, 3, 4]),
    SENDER,
  );
  calls.get('1')?.answer(result(JSON.stringify('x'.repeat(40_000))));
  calls.get('2')?.answer(result(JSON.stringify('y'.repeat(40_000))));
  await done;
  const answers = JSON.parse(response.text) as { id: number; result?: string; error?: { data: { code: string } } }[];
  assert.equal(answers[0]?.result?.length, 40_000);
  assert.deepEqual(
    answers.slice(1).map(({ id, error }) => [id, error?.data.code]),
    [2, 3, 4].map((id) => [id, 'batch-too-large']),
  );
  assert.equal(calls.get('3')?.cancelled, true);
  assert.equal(calls.get('4')?.cancelled, true);
});

test('a client that leaves cancels every call of its batch', async () => {
  const { pipeline, calls } = scriptedLine();
  const response = new FakeResponse();
  const done = createBatch({ runtime, limits: limitsFrom({}), pipeline })(
    REQUEST,
    response.asResponse(),
    batchOf([1, 2]),
    SENDER,
  );
  response.destroy();
  await done;
  assert.deepEqual(
    [...calls.values()].map(({ cancelled }) => cancelled),
    [true, true],
  );
});

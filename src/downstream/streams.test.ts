// covers: B7, P13
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeResponse } from '../../test/support/fake-response.ts';
import { type FrozenRuntime, frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { accessOf } from '../../test/support/small-worlds.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import type { SseStream } from './sse-stream.ts';
import { Streams } from './streams.ts';

interface Opened {
  readonly stream: SseStream;
  readonly response: FakeResponse;
  readonly reasons: string[];
}

function rigWith(more: Partial<Limits> = {}): { frozen: FrozenRuntime; limits: Limits; streams: Streams } {
  const frozen = frozenRuntime();
  const limits = { ...limitsFrom({}), ...more };
  return { frozen, limits, streams: new Streams({ runtime: frozen.runtime, limits }) };
}

function open(streams: Streams, owner = 'a'): Opened {
  const response = new FakeResponse();
  const reasons: string[] = []; // bounded by: one test
  const stream = streams.open(
    response.asResponse(),
    { owner, access: accessOf('alice'), headers: { 'mcp-session-id': 's' } },
    (reason) => reasons.push(reason),
  );
  assert.ok(!isRefusal(stream));
  return { stream, response, reasons };
}

test('a stream that has nothing to send begins with a comment, and no proxy may hold it back', () => {
  const { frozen, streams } = rigWith();
  const { response } = open(streams);
  assert.equal(response.status, 200);
  assert.equal(response.headers['content-type'], 'text/event-stream');
  assert.equal(response.headers['x-accel-buffering'], 'no');
  assert.equal(response.headers['mcp-session-id'], 's');
  assert.equal(response.text, '');
  frozen.advance(10);
  assert.equal(response.text, ':\n');
});

// case: CL38
test('a stream that has something to send begins with that event', () => {
  const { frozen, streams } = rigWith();
  const { stream, response } = open(streams);
  stream.send(Buffer.from('{}'));
  frozen.advance(10);
  assert.deepEqual(response.writes, ['event: message\ndata: {}\n\n']);
});

// case: CL38
test('a quiet stream gets a comment without a blank line at least every 15 s, a talking one does not', () => {
  const { frozen, limits, streams } = rigWith();
  assert.equal(limits.streamKeepAliveMs, 15_000);
  const quiet = open(streams);
  const talking = open(streams);
  for (let second = 0; second < 60; second += 1) {
    if (second % 5 === 0) talking.stream.send(Buffer.from('{}'));
    frozen.advance(1000);
  }
  const comments = (response: FakeResponse): number => response.writes.filter((text) => text === ':\n').length - 1;
  assert.ok(comments(quiet.response) >= 4, `${comments(quiet.response)} comments in a minute`);
  assert.ok(comments(quiet.response) <= 6);
  assert.equal(comments(talking.response), -1);
});

test('a message is one event', () => {
  const { streams } = rigWith();
  const { stream, response } = open(streams);
  assert.equal(stream.send(Buffer.from('{"a":1}')), true);
  assert.equal(response.writes[0], 'event: message\ndata: {"a":1}\n\n');
  const large = `{"a":"${'x'.repeat(10_000)}"}`;
  assert.equal(stream.send(Buffer.from(large), '7'), true);
  assert.equal(response.writes.slice(1).join(''), `event: message\nid: 7\ndata: ${large}\n\n`);
});

// row C2, C8 · guards src/downstream/streams.ts
test('a reader that takes nothing for streamSlowMs is cut, and honest ones do not notice', () => {
  const { frozen, limits, streams } = rigWith();
  const slow = open(streams);
  const honest = open(streams);
  slow.response.takes = false;
  slow.stream.send(Buffer.from('{}'));
  frozen.advance(limits.streamSlowMs - 1500);
  assert.deepEqual(slow.reasons, []);
  frozen.advance(3000);
  assert.deepEqual(slow.reasons, ['slow-reader']);
  assert.equal(slow.response.destroyed, true);
  assert.equal(slow.stream.send(Buffer.from('{}')), false);
  assert.deepEqual(honest.reasons, []);
  assert.equal(honest.stream.send(Buffer.from('{}')), true);
  assert.equal(streams.size, 1);
});

// row C9 · guards src/downstream/streams.ts
test('a reader that takes everything in time is kept, however often it was full', () => {
  const { frozen, limits, streams } = rigWith();
  const { stream, response, reasons } = open(streams);
  for (let round = 0; round < 5; round += 1) {
    response.takes = false;
    stream.send(Buffer.from('{}'));
    frozen.advance(limits.streamSlowMs - 2000);
    response.takes = true;
    response.emit('drain');
  }
  assert.deepEqual(reasons, []);
});

// row C8 · guards src/downstream/streams.ts
test('a reader that leaves more than streamBytes unread is cut within a second', () => {
  const { frozen, limits, streams } = rigWith();
  const { response, reasons } = open(streams);
  response.writableLength = limits.streamBytes;
  frozen.advance(1100);
  assert.deepEqual(reasons, []);
  response.writableLength += 1;
  frozen.advance(1100);
  assert.deepEqual(reasons, ['slow-reader']);
});

// row C8 · guards src/downstream/streams.ts
test('all streams together leave no more than streamsBytes unread: who has been blocked longest is cut first', () => {
  const { frozen, streams } = rigWith({ streamsBytes: 1_000_000 });
  const [first, second, third, honest] = [open(streams), open(streams), open(streams), open(streams)];
  for (const one of [second, first, third]) {
    one.response.takes = false;
    one.stream.send(Buffer.from('{}'));
    one.response.writableLength = 400_000;
    frozen.advance(1);
  }
  honest.response.writableLength = 100_000;
  frozen.advance(1000);
  const cut = [first, second, third, honest].map(({ reasons }) => reasons.join());
  assert.deepEqual(cut, ['', 'slow-reader', '', '']);
});

test('no stream is older than streamMs', () => {
  const { frozen, streams } = rigWith({ streamMs: 60_000 });
  const { stream, response, reasons } = open(streams);
  for (let second = 0; second < 62; second += 1) {
    frozen.advance(1000);
    stream.send(Buffer.from('{}'));
  }
  assert.deepEqual(reasons, ['too-old']);
  assert.equal(response.ended, true);
  assert.equal(response.destroyed, false, 'what is queued still goes out');
});

test('when all places are taken a stream is refused and nothing is written; a place that is free again is given', () => {
  const { streams } = rigWith({ streams: 1 });
  const first = open(streams);
  const second = new FakeResponse();
  const refused = streams.open(second.asResponse(), { owner: 'a', access: accessOf('alice') }, () => {});
  assert.ok(isRefusal(refused));
  assert.equal(refused.code, 'overloaded');
  assert.equal(second.headersSent, false);
  first.response.emit('close');
  assert.deepEqual(first.reasons, ['client-gone']);
  open(streams);
  assert.equal(streams.size, 1);
});

test('closing tells once why, whatever happens afterwards', () => {
  const { streams } = rigWith();
  const { stream, response, reasons } = open(streams);
  stream.close('session-ended');
  stream.close('again');
  response.emit('close');
  response.emit('error', new Error('late'));
  assert.deepEqual(reasons, ['session-ended']);
  const [a, b] = [open(streams), open(streams)];
  streams.closeAll('draining');
  assert.deepEqual([a.reasons, b.reasons], [['draining'], ['draining']]);
  assert.equal(streams.size, 0);
});

test('a refused stream leaves no listener, no place and no bytes behind', () => {
  const { streams } = rigWith({ streams: 1 });
  const first = open(streams);
  const response = new FakeResponse();
  const reasons: string[] = []; // bounded by: one test
  const refused = streams.open(response.asResponse(), { owner: 'a', access: accessOf('alice') }, (reason) =>
    reasons.push(reason),
  );
  assert.ok(isRefusal(refused) && refused.code === 'overloaded');
  assert.deepEqual(response.eventNames(), []);
  assert.equal(response.headersSent, false);
  response.destroy();
  assert.deepEqual(reasons, []);
  first.response.destroy();
  assert.equal(streams.size, 0);
  open(streams);
});

test('a key at its share of streams is refused, and another key still gets one', () => {
  const { streams } = rigWith({ streams: 16, streamsPerKey: 4 });
  const own = Array.from({ length: 4 }, () => open(streams, 'a'));
  const refused = streams.open(new FakeResponse().asResponse(), { owner: 'a', access: accessOf('alice') }, () => {});
  assert.ok(isRefusal(refused) && refused.code === 'key-busy' && refused.detail.setting === 'streamsPerKey');
  open(streams, 'b');
  own[0]?.response.destroy();
  open(streams, 'a');
});

test('when all places are taken the key that holds most loses its oldest stream to a new key', () => {
  const { streams } = rigWith({ streams: 16, streamsPerKey: 16 });
  const greedy = Array.from({ length: 11 }, () => open(streams, 'a'));
  const others = Array.from({ length: 5 }, (_, at) => open(streams, `b${at}`));
  open(streams, 'c');
  assert.equal(streams.size, 16);
  assert.deepEqual(
    greedy.map(({ reasons }) => reasons),
    greedy.map((_, at) => (at === 0 ? ['too-many-streams'] : [])),
  );
  assert.ok(others.every(({ reasons }) => reasons.length === 0));
});

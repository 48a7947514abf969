// covers: B10
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { accessOf } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { lostEventId, ResumableStreams, type Resumed, type StreamConnection } from './resumable-streams.ts';

const ID = Buffer.from('"call 7"');

class Reader implements StreamConnection {
  readonly received: string[] = []; // bounded by: one test
  readonly ids: string[] = []; // bounded by: one test
  closed = '';
  send(message: Buffer, eventId = ''): boolean {
    this.received.push(message.toString());
    this.ids.push(eventId);
    return true;
  }
  close(reason: string): void {
    this.closed ||= reason;
  }
}

function rig(overrides: Record<string, number> = {}, slot = 1) {
  const frozen = frozenRuntime();
  return {
    ...frozen,
    streams: new ResumableStreams({ runtime: frozen.runtime, limits: limitsFrom(overrides), slot }),
  };
}

function streamOf(resumed: Resumed) {
  assert.equal(resumed.kind, 'stream');
  return resumed as Extract<Resumed, { kind: 'stream' }>;
}

const message = (text: string | number): Buffer => Buffer.from(String(text));

const ALICE = { random: 'alice', owner: 'a' };
const ACCESS = accessOf('alice');

test('a client that loses its stream during a call receives the missed events and the result once', () => {
  const { streams } = rig();
  const stream = streams.open(ALICE, ID, ACCESS);
  const first = new Reader();
  stream.attach(first, 0);
  stream.send(message('1'));
  stream.detach(first);
  stream.send(message('2'));
  const { stream: same, after, isCall } = streamOf(streams.resume('alice', first.ids[0] ?? ''));
  assert.deepEqual([after, isCall], [1, true]);
  const second = new Reader();
  same.attach(second, after);
  stream.finish(message('result'));
  assert.deepEqual(first.received, ['1']);
  assert.deepEqual(second.received, ['2', 'result']);
  assert.equal(second.closed, 'answered');
  assert.equal(stream.send(message('late progress')), false);
});

test('buffers a result without a connected client for replayMs', () => {
  const { streams, advance, runtime } = rig({ replayMs: 5000 });
  const stream = streams.open(ALICE, ID, ACCESS);
  stream.finish(message('result'));
  const late = new Reader();
  streamOf(streams.resume('alice', stream.firstId)).stream.attach(late, 0);
  assert.deepEqual([late.received, late.closed], [['result'], 'answered']);
  advance(6000);
  assert.deepEqual(streams.resume('alice', stream.firstId), { kind: 'lost', idRaw: ID });
  assert.equal(runtime.ceilings.table().find(({ name }) => name === 'session.replay-bytes')?.size, 0);
});

test('tells a client that has the final message, or knows the call is lost, that nothing follows', () => {
  const { streams } = rig();
  const stream = streams.open(ALICE, ID, ACCESS);
  const reader = new Reader();
  stream.attach(reader, 0);
  stream.send(message('progress'));
  assert.equal(streams.resume('alice', reader.ids[0] ?? '').kind, 'stream', 'it is not finished');
  stream.finish(message('result'));
  assert.equal(streams.resume('alice', reader.ids[0] ?? '').kind, 'stream', 'the result is missing');
  const last = reader.ids[1] ?? '';
  assert.deepEqual(streams.resume('alice', last), { kind: 'finished' });
  assert.equal(streams.resume('bob', reader.ids[0] ?? '').kind, 'lost');
  // Also on a worker that has never seen the call.
  for (const slot of [1, 2]) assert.deepEqual(rig({}, slot).streams.resume('alice', last), { kind: 'finished' });
  const told = lostEventId(ID);
  for (const slot of [1, 2]) assert.deepEqual(rig({}, slot).streams.resume('alice', told), { kind: 'finished' });
});

test('reports a call as lost when its result could not be buffered', () => {
  const { streams } = rig({ replayAllBytes: 1024 * 1024 });
  const stream = streams.open(ALICE, ID, ACCESS);
  stream.send(message('progress'));
  stream.finish(Buffer.alloc(2 * 1024 * 1024));
  assert.deepEqual(streams.resume('alice', stream.firstId), { kind: 'lost', idRaw: ID });
});

test('replays nothing for an event id of another session, process or worker, or an invalid one', () => {
  const { streams } = rig();
  const standing = streams.open(ALICE, undefined, ACCESS).firstId;
  const call = streams.open(ALICE, ID, ACCESS).firstId;
  assert.deepEqual(streams.resume('bob', call), { kind: 'lost', idRaw: ID });
  assert.deepEqual(streams.resume('bob', standing), { kind: 'none' });
  for (const text of ['', 'x', '1.2', '1.abcd.1.1.%%', `${call}\n`, `${'9'.repeat(400)}.a.1.1`, '1.abcd.1.1.e30'])
    assert.equal(streams.resume('alice', text).kind, 'none', text);
  const other = rig();
  assert.deepEqual(other.streams.resume('alice', call), { kind: 'lost', idRaw: ID });
  assert.deepEqual(rig({}, 2).streams.resume('alice', call), { kind: 'other-worker', slot: 1, idRaw: ID });
});

test('returns the request id of a forged event id only when it is one line of valid JSON', () => {
  const { streams } = rig();
  const forged = (raw: string | Buffer) => `1.abcdefgh.1.1.${Buffer.from(raw).toString('base64url')}`;
  for (const raw of [
    '\n1',
    '1\n',
    ' 1',
    '"a" ',
    '"a\nb"',
    '{}',
    '[1]',
    'null',
    'true',
    Buffer.from([0x22, 0xff, 0x22]),
  ])
    assert.equal(streams.resume('alice', forged(raw)).kind, 'none', JSON.stringify(String(raw)));
  for (const raw of ['1', '-1.5e3', '"a b"', '"\\n"'])
    assert.deepEqual(streams.resume('alice', forged(raw)), { kind: 'lost', idRaw: Buffer.from(raw) });
});

// case: CL36
test('of several connections of a stream the newest receives new events; all end with the answer', () => {
  const { streams } = rig();
  const stream = streams.open(ALICE, ID, ACCESS);
  const [old, young] = [new Reader(), new Reader()];
  stream.attach(old, 0);
  stream.attach(young, 0);
  stream.send(message('x'));
  assert.deepEqual([old.closed, young.closed], ['', '']);
  stream.detach(young);
  stream.send(message('y'));
  assert.deepEqual([old.received, young.received], [['y'], ['x']]);
  const third = new Reader();
  stream.attach(third, 2);
  stream.finish(message('end'));
  assert.deepEqual([old.received, third.received], [['y'], ['end']]);
  assert.deepEqual([old.closed, third.closed], ['answered', 'answered']);
});

test('closes the oldest of too many connections of a stream', () => {
  const { streams } = rig();
  const stream = streams.open(ALICE, ID, ACCESS);
  const readers = Array.from({ length: 6 }, () => new Reader());
  for (const reader of readers) stream.attach(reader, 0);
  assert.deepEqual(
    readers.map(({ closed }) => closed),
    ['replaced', 'replaced', '', '', '', ''],
  );
});

// case: CL26
test('a cancelled call ends without a final message, and its events can be resumed', () => {
  const { streams } = rig();
  const stream = streams.open(ALICE, ID, ACCESS);
  const reader = new Reader();
  stream.attach(reader, 0);
  stream.send(message('x'));
  stream.finishSilently();
  stream.finish(message('late'));
  assert.deepEqual([reader.received, reader.closed], [['x'], 'cancelled']);
  assert.equal(streams.resume('alice', reader.ids.at(-1) ?? '').kind, 'finished');
  const late = new Reader();
  streamOf(streams.resume('alice', stream.firstId)).stream.attach(late, 0);
  assert.deepEqual([late.received, late.closed], [['x'], 'answered']);
});

// row C21 · guards src/session/resumable-streams.ts
test('limits buffered events by number and bytes, each and in total; the newest is always buffered', () => {
  const { streams, runtime } = rig({ replayEvents: 3, replayBytes: 1024, replayAllBytes: 1024 * 1024 });
  const stream = streams.open(ALICE, ID, ACCESS);
  for (let at = 1; at <= 10; at += 1) stream.send(message(at));
  const few = new Reader();
  stream.attach(few, 0);
  assert.deepEqual(few.received, ['8', '9', '10']);
  stream.send(Buffer.alloc(5000, 0x61));
  const one = new Reader();
  stream.attach(one, 0);
  assert.deepEqual(
    one.received.map((text) => text.length),
    [5000],
  );
  const row = () => runtime.ceilings.table().find(({ name }) => name === 'session.replay-bytes');
  assert.equal(row()?.size, 5000);
  const huge = streams.open(ALICE, ID, ACCESS);
  const live = new Reader();
  huge.attach(live, 0);
  huge.send(Buffer.alloc(2 * 1024 * 1024));
  assert.equal(live.received.length, 1, 'what cannot be kept is sent all the same');
  assert.equal(row()?.size, 5000);
  stream.close('session-ended');
  assert.equal(row()?.size, 0);
});

test('close() closes the connection with its reason, calls `closed` once, and closes later connections at once', () => {
  const { streams } = rig();
  let told = 0;
  const stream = streams.open(ALICE, undefined, ACCESS, () => {
    told += 1;
  });
  const reader = new Reader();
  stream.attach(reader, 0);
  stream.close('session-ended');
  stream.close('again');
  const late = new Reader();
  stream.attach(late, 0);
  assert.deepEqual([reader.closed, late.closed, told], ['session-ended', 'session-ended', 1]);
});

const sizeOf = (runtime: ReturnType<typeof frozenRuntime>['runtime'], name: string) =>
  runtime.ceilings.table().find((row) => row.name === name)?.size;

test('a key that opens many streams loses its own, and another key can resume its own', () => {
  const { streams, runtime, advance } = rig({ streams: 20, resumableStreamsPerKey: 20, replayMs: 5000 });
  const bob = streams.open({ random: 'bob', owner: 'b' }, ID, ACCESS);
  bob.send(message('1'));
  const live = new Reader();
  const first = streams.open(ALICE, ID, ACCESS);
  first.attach(live, 0);
  for (let n = 0; n < 500; n += 1) streams.open(ALICE, ID, ACCESS).finish(message('result'));
  assert.equal(streamOf(streams.resume('bob', bob.firstId)).after, 0);
  assert.equal(streams.resume('alice', first.firstId).kind, 'lost');
  assert.equal(first.send(message('goes on')), true);
  assert.deepEqual([live.received, live.closed], [['goes on'], '']);
  first.detach(live);
  advance(6000);
  bob.close('session-ended');
  assert.deepEqual([sizeOf(runtime, 'session.tracks'), sizeOf(runtime, 'session.replay-bytes')], [0, 0]);
});

test('keys that fill the replay bytes do not evict events of another key', () => {
  const limits = { replayAllBytes: 1024 * 1024, replayBytesPerKey: 1024 * 1024, replayBytes: 256 * 1024 };
  const { streams, runtime } = rig(limits);
  for (const owner of ['a1', 'a2'])
    for (let n = 0; n < 50; n += 1) streams.open({ random: 'a', owner }, ID, ACCESS).finish(Buffer.alloc(49_000));
  const full = sizeOf(runtime, 'session.replay-bytes') ?? 0;
  assert.ok(full > 1_000_000, `${full} bytes`);
  const bob = streams.open({ random: 'bob', owner: 'b' }, ID, ACCESS);
  for (let n = 0; n < 5; n += 1) bob.send(Buffer.alloc(40_000, 0x30 + n));
  bob.finish(Buffer.alloc(40_000, 0x61));
  const reader = new Reader();
  streamOf(streams.resume('bob', bob.firstId)).stream.attach(reader, 0);
  assert.equal(reader.received.length, 6);
  assert.ok((sizeOf(runtime, 'session.replay-bytes') ?? 0) <= 1024 * 1024);
});

// covers: B10
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { accessOf } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { createTracks, lostEventId, type Resumed, type TrackStream } from './resumable-streams.ts';

const ID = Buffer.from('"call 7"');

class Reader implements TrackStream {
  readonly got: string[] = []; // bounded by: one test
  readonly ids: string[] = []; // bounded by: one test
  closed = '';
  send(message: Buffer, eventId = ''): boolean {
    this.got.push(message.toString());
    this.ids.push(eventId);
    return true;
  }
  close(reason: string): void {
    this.closed ||= reason;
  }
}

function rig(overrides: Record<string, number> = {}, slot = 1) {
  const frozen = frozenKernel();
  return { ...frozen, tracks: createTracks({ kernel: frozen.kernel, limits: limitsFrom(overrides), slot }) };
}

function trackOf(resumed: Resumed) {
  assert.equal(resumed.kind, 'track');
  return resumed as Extract<Resumed, { kind: 'track' }>;
}

const say = (text: string | number): Buffer => Buffer.from(String(text));

const ALICE = { random: 'alice', owner: 'a' };
const ACCESS = accessOf('alice');

test('a client that lost its stream in mid-call gets what it missed and the result, once', () => {
  const { tracks } = rig();
  const track = tracks.open(ALICE, ID, ACCESS);
  const first = new Reader();
  track.attach(first, 0);
  track.send(say('1'));
  track.detach(first);
  track.send(say('2'));
  const { track: same, after, isCall } = trackOf(tracks.resume('alice', first.ids[0] ?? ''));
  assert.deepEqual([after, isCall], [1, true]);
  const second = new Reader();
  same.attach(second, after);
  track.finish(say('result'));
  assert.deepEqual(first.got, ['1']);
  assert.deepEqual(second.got, ['2', 'result']);
  assert.equal(second.closed, 'answered');
  assert.equal(track.send(say('late progress')), false);
});

test('a result that came while nobody listened waits for its client, and goes after replayMs', () => {
  const { tracks, advance, kernel } = rig({ replayMs: 5000 });
  const track = tracks.open(ALICE, ID, ACCESS);
  track.finish(say('result'));
  const late = new Reader();
  trackOf(tracks.resume('alice', track.firstId)).track.attach(late, 0);
  assert.deepEqual([late.got, late.closed], [['result'], 'answered']);
  advance(6000);
  assert.deepEqual(tracks.resume('alice', track.firstId), { kind: 'lost', idRaw: ID });
  assert.equal(kernel.ceilings.table().find(({ name }) => name === 'session.replay-bytes')?.size, 0);
});

test('who has had the last message, or was told that there is none, is told that nothing follows', () => {
  const { tracks } = rig();
  const track = tracks.open(ALICE, ID, ACCESS);
  const reader = new Reader();
  track.attach(reader, 0);
  track.send(say('progress'));
  assert.equal(tracks.resume('alice', reader.ids[0] ?? '').kind, 'track', 'it is not finished');
  track.finish(say('result'));
  assert.equal(tracks.resume('alice', reader.ids[0] ?? '').kind, 'track', 'the result is missing');
  const last = reader.ids[1] ?? '';
  assert.deepEqual(tracks.resume('alice', last), { kind: 'over' });
  assert.equal(tracks.resume('bob', reader.ids[0] ?? '').kind, 'lost');
  // Also at a worker that has never seen the call.
  for (const slot of [1, 2]) assert.deepEqual(rig({}, slot).tracks.resume('alice', last), { kind: 'over' });
  const told = lostEventId(ID);
  for (const slot of [1, 2]) assert.deepEqual(rig({}, slot).tracks.resume('alice', told), { kind: 'over' });
});

test('a call whose result could not be kept is lost to who comes back for it', () => {
  const { tracks } = rig({ replayAllBytes: 1024 * 1024 });
  const track = tracks.open(ALICE, ID, ACCESS);
  track.send(say('progress'));
  track.finish(Buffer.alloc(2 * 1024 * 1024));
  assert.deepEqual(tracks.resume('alice', track.firstId), { kind: 'lost', idRaw: ID });
});

test('an event id of another session, of nobody, of another life or of another hub leads to no events', () => {
  const { tracks } = rig();
  const standing = tracks.open(ALICE, undefined, ACCESS).firstId;
  const call = tracks.open(ALICE, ID, ACCESS).firstId;
  assert.deepEqual(tracks.resume('bob', call), { kind: 'lost', idRaw: ID });
  assert.deepEqual(tracks.resume('bob', standing), { kind: 'none' });
  for (const text of ['', 'x', '1.2', '1.abcd.1.1.%%', `${call}\n`, `${'9'.repeat(400)}.a.1.1`, '1.abcd.1.1.e30'])
    assert.equal(tracks.resume('alice', text).kind, 'none', text);
  const other = rig();
  assert.deepEqual(other.tracks.resume('alice', call), { kind: 'lost', idRaw: ID });
  assert.deepEqual(rig({}, 2).tracks.resume('alice', call), { kind: 'elsewhere', slot: 1, idRaw: ID });
});

test('a forged event id brings back a request id only when it is one line of valid JSON', () => {
  const { tracks } = rig();
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
    assert.equal(tracks.resume('alice', forged(raw)).kind, 'none', JSON.stringify(String(raw)));
  for (const raw of ['1', '-1.5e3', '"a b"', '"\\n"'])
    assert.deepEqual(tracks.resume('alice', forged(raw)), { kind: 'lost', idRaw: Buffer.from(raw) });
});

// case: CL36
test('of several responses of a track the newest receives what is new; all of them end with the answer', () => {
  const { tracks } = rig();
  const track = tracks.open(ALICE, ID, ACCESS);
  const [old, young] = [new Reader(), new Reader()];
  track.attach(old, 0);
  track.attach(young, 0);
  track.send(say('x'));
  assert.deepEqual([old.closed, young.closed], ['', '']);
  track.detach(young);
  track.send(say('y'));
  assert.deepEqual([old.got, young.got], [['y'], ['x']]);
  const third = new Reader();
  track.attach(third, 2);
  track.finish(say('end'));
  assert.deepEqual([old.got, third.got], [['y'], ['end']]);
  assert.deepEqual([old.closed, third.closed], ['answered', 'answered']);
});

test('of many responses of a track the oldest is closed', () => {
  const { tracks } = rig();
  const track = tracks.open(ALICE, ID, ACCESS);
  const readers = Array.from({ length: 6 }, () => new Reader());
  for (const reader of readers) track.attach(reader, 0);
  assert.deepEqual(
    readers.map(({ closed }) => closed),
    ['replaced', 'replaced', '', '', '', ''],
  );
});

// case: CL26
test('a cancelled call ends without a last message, and what was sent before can be resumed', () => {
  const { tracks } = rig();
  const track = tracks.open(ALICE, ID, ACCESS);
  const reader = new Reader();
  track.attach(reader, 0);
  track.send(say('x'));
  track.finishSilently();
  track.finish(say('late'));
  assert.deepEqual([reader.got, reader.closed], [['x'], 'cancelled']);
  assert.equal(tracks.resume('alice', reader.ids.at(-1) ?? '').kind, 'over');
  const late = new Reader();
  trackOf(tracks.resume('alice', track.firstId)).track.attach(late, 0);
  assert.deepEqual([late.got, late.closed], [['x'], 'answered']);
});

// row C21 · guards src/session/resumable-streams.ts
test('what is kept is bounded: by number, by bytes, in all; the newest is kept however large it is', () => {
  const { tracks, kernel } = rig({ replayEvents: 3, replayBytes: 1024, replayAllBytes: 1024 * 1024 });
  const track = tracks.open(ALICE, ID, ACCESS);
  for (let at = 1; at <= 10; at += 1) track.send(say(at));
  const few = new Reader();
  track.attach(few, 0);
  assert.deepEqual(few.got, ['8', '9', '10']);
  track.send(Buffer.alloc(5000, 0x61));
  const one = new Reader();
  track.attach(one, 0);
  assert.deepEqual(
    one.got.map((text) => text.length),
    [5000],
  );
  const row = () => kernel.ceilings.table().find(({ name }) => name === 'session.replay-bytes');
  assert.equal(row()?.size, 5000);
  const huge = tracks.open(ALICE, ID, ACCESS);
  const live = new Reader();
  huge.attach(live, 0);
  huge.send(Buffer.alloc(2 * 1024 * 1024));
  assert.equal(live.got.length, 1, 'what cannot be kept is sent all the same');
  assert.equal(row()?.size, 5000);
  track.close('session-ended');
  assert.equal(row()?.size, 0);
});

test('closing ends the live stream with its reason, tells once, and a later one is closed at once', () => {
  const { tracks } = rig();
  let told = 0;
  const track = tracks.open(ALICE, undefined, ACCESS, () => {
    told += 1;
  });
  const reader = new Reader();
  track.attach(reader, 0);
  track.close('session-ended');
  track.close('again');
  const late = new Reader();
  track.attach(late, 0);
  assert.deepEqual([reader.closed, late.closed, told], ['session-ended', 'session-ended', 1]);
});

const sizeOf = (kernel: ReturnType<typeof frozenKernel>['kernel'], name: string) =>
  kernel.ceilings.table().find((row) => row.name === name)?.size;

test('a key that opens streams without end loses its own, and another key can resume its own', () => {
  const { tracks, kernel, advance } = rig({ streams: 20, resumableStreamsPerKey: 20, replayMs: 5000 });
  const bob = tracks.open({ random: 'bob', owner: 'b' }, ID, ACCESS);
  bob.send(say('1'));
  const live = new Reader();
  const first = tracks.open(ALICE, ID, ACCESS);
  first.attach(live, 0);
  for (let n = 0; n < 500; n += 1) tracks.open(ALICE, ID, ACCESS).finish(say('result'));
  assert.equal(trackOf(tracks.resume('bob', bob.firstId)).after, 0);
  assert.equal(tracks.resume('alice', first.firstId).kind, 'lost');
  assert.equal(first.send(say('goes on')), true);
  assert.deepEqual([live.got, live.closed], [['goes on'], '']);
  first.detach(live);
  advance(6000);
  bob.close('session-ended');
  assert.deepEqual([sizeOf(kernel, 'session.tracks'), sizeOf(kernel, 'session.replay-bytes')], [0, 0]);
});

test('keys that fill the replay bytes never take the events of another key', () => {
  const limits = { replayAllBytes: 1024 * 1024, replayBytesPerKey: 1024 * 1024, replayBytes: 256 * 1024 };
  const { tracks, kernel } = rig(limits);
  for (const owner of ['a1', 'a2'])
    for (let n = 0; n < 50; n += 1) tracks.open({ random: 'a', owner }, ID, ACCESS).finish(Buffer.alloc(49_000));
  const full = sizeOf(kernel, 'session.replay-bytes') ?? 0;
  assert.ok(full > 1_000_000, `${full} bytes`);
  const bob = tracks.open({ random: 'bob', owner: 'b' }, ID, ACCESS);
  for (let n = 0; n < 5; n += 1) bob.send(Buffer.alloc(40_000, 0x30 + n));
  bob.finish(Buffer.alloc(40_000, 0x61));
  const reader = new Reader();
  trackOf(tracks.resume('bob', bob.firstId)).track.attach(reader, 0);
  assert.equal(reader.got.length, 6);
  assert.ok((sizeOf(kernel, 'session.replay-bytes') ?? 0) <= 1024 * 1024);
});

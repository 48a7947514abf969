// covers: A5, B8, B9, P12
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import type { Principal } from '../kernel/principal.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { decodeStatement, encodeStatement, sealedPath } from './session-token.ts';
import { createSessions, type Session } from './sessions.ts';

const SECRET = Buffer.from('a secret of the tests, 32 letters');
const alice: Principal = {
  userId: 'u-alice',
  userName: 'alice',
  family: 'f-1',
  keyId: 'k-1',
  keyName: 'cursor',
  role: 'member',
  groups: undefined,
};
const WISH = {
  principal: alice,
  path: '*',
  version: '2025-11-25',
  clientName: 'cursor',
  clientVersion: '1.2',
  capabilityBits: 5,
};

function hub(secrets = [SECRET], overrides: Record<string, number> = {}) {
  const frozen = frozenKernel();
  return {
    ...frozen,
    sessions: createSessions({ kernel: frozen.kernel, limits: limitsFrom(overrides), keyRing: createKeyRing(secrets) }),
  };
}

function code(outcome: Outcome<Session>): string {
  return isRefusal(outcome) ? outcome.code : 'found';
}

test('an id is visible ASCII of at most 512 characters, however long the names are', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300, unit: 'grapheme' }), fc.string({ maxLength: 300 }), (clientName, path) => {
      const { id } = hub().sessions.mint({
        ...WISH,
        clientName,
        path,
        clientVersion: clientName,
        principal: { ...alice, userId: 'u'.repeat(60) },
      });
      assert.match(id, /^[\x21-\x7e]{1,512}$/);
    }),
    { numRuns: 30 },
  );
});

test('a statement is read as it was written', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 10 }), fc.nat(255), fc.nat(), (text, capabilityBits, issuedMs) => {
      const statement = {
        random: '00112233445566778899aabbccddeeff',
        userId: text,
        family: text,
        path: text,
        version: '2025-11-25',
        clientName: text,
        clientVersion: text.slice(0, 5),
        capabilityBits,
        issuedMs,
      };
      assert.deepEqual(decodeStatement(encodeStatement(statement)), { ...statement });
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeStatement(Buffer.from(bytes))));
});

test('another hub with the same secret, or the same one after a kill, revives the session', () => {
  const { id } = hub().sessions.mint(WISH);
  const revived = hub().sessions.find(id, alice);
  assert.ok(!isRefusal(revived));
  assert.deepEqual(
    [revived.clientName, revived.version, revived.capabilityBits, revived.path],
    ['cursor', '2025-11-25', 5, '*'],
  );
  assert.equal(code(hub([Buffer.from('another secret, another product')]).sessions.find(id, alice)), 'session-unknown');
});

test('a new secret in front keeps old sessions alive', () => {
  const { id } = hub().sessions.mint(WISH);
  assert.equal(code(hub([Buffer.from('the next secret after a rotation'), SECRET]).sessions.find(id, alice)), 'found');
});

test('rotating the key keeps the session; another user or key family does not see it', () => {
  const { sessions } = hub();
  const { id } = sessions.mint(WISH);
  assert.equal(code(sessions.find(id, { ...alice, keyId: 'k-2' })), 'found');
  assert.equal(code(sessions.find(id, { ...alice, family: 'f-2' })), 'session-unknown');
  assert.equal(code(sessions.find(id, { ...alice, userId: 'u-bob' })), 'session-unknown');
});

// row C7 · guards src/session/session-token.ts
test('any altered character makes an id unknown', () => {
  const { sessions } = hub();
  const { id } = sessions.mint(WISH);
  for (let at = 0; at < id.length; at += 7) {
    const altered = `${id.slice(0, at)}${id[at] === 'A' ? 'B' : 'A'}${id.slice(at + 1)}`;
    assert.equal(code(sessions.find(altered, alice)), 'session-unknown');
  }
  assert.equal(code(sessions.find('', alice)), 'session-unknown');
  assert.equal(code(sessions.find('x'.repeat(100_000), alice)), 'session-unknown');
});

test('after DELETE the id has ended here, and elsewhere once the tombstone arrives', () => {
  const first = hub();
  const second = hub();
  first.sessions.onEnded((tombstone) => second.sessions.bury(tombstone));
  const { id } = first.sessions.mint(WISH);
  assert.equal(code(second.sessions.find(id, alice)), 'found');
  first.sessions.end(id);
  assert.equal(code(first.sessions.find(id, alice)), 'session-ended');
  assert.equal(code(second.sessions.find(id, alice)), 'session-ended');
});

// row C3 · guards src/session/sessions.ts
test('idle sessions leave memory and come back; those with an open stream stay', () => {
  const { sessions, advance } = hub([SECRET], { sessionIdleMs: 120_000 });
  const { id } = sessions.mint(WISH);
  const streaming = sessions.mint(WISH);
  sessions.attach(streaming, { send: () => true, close: () => {} });
  advance(300_000);
  assert.equal(sessions.size, 1);
  assert.equal(code(sessions.find(id, alice)), 'found');
});

test('a session that is too old is unknown', () => {
  const { sessions, advance } = hub([SECRET], { sessionMs: 60_000 });
  const { id } = sessions.mint(WISH);
  advance(61_000);
  assert.equal(code(sessions.find(id, alice)), 'session-unknown');
});

// row C5 · guards src/session/_open-streams.ts
// case: CL36
test('of several streams the newest receives what is new, and the others stay open', () => {
  const { sessions } = hub();
  const session = sessions.mint(WISH);
  const closed: string[] = [];
  const heard: string[] = [];
  const stream = (name: string) => ({
    send: (message: Buffer) => heard.push(`${name} ${message}`) > 0,
    close: (reason: string) => void closed.push(`${name} ${reason}`),
  });
  const [old, young] = [stream('old'), stream('young')];
  sessions.attach(session, old);
  sessions.attach(session, young);
  assert.deepEqual(closed, []);
  sessions.send(session, Buffer.from('1'));
  sessions.detach(session, young);
  sessions.send(session, Buffer.from('2'));
  assert.deepEqual(heard, ['young 1', 'old 2']);
  for (const name of ['b', 'c', 'd']) sessions.attach(session, stream(name));
  assert.deepEqual(closed, []);
  sessions.attach(session, stream('e'));
  assert.deepEqual(closed, ['old replaced'], 'of too many the oldest is closed');
  sessions.end(session.id);
  assert.deepEqual(closed, ['old replaced', ...['b', 'c', 'd', 'e'].map((name) => `${name} session-ended`)]);
  assert.equal(sessions.send(session, Buffer.from('x')), false);
});

test('a message goes to the streams that it is for, and to no other', () => {
  const { sessions } = hub();
  const heard: string[] = [];
  for (const path of ['*', 'g:dev']) {
    const session = sessions.mint({ ...WISH, path });
    sessions.attach(session, { send: () => heard.push(path) > 0, close: () => {} });
  }
  assert.equal(
    sessions.broadcast((session) => session.path === 'g:dev', Buffer.from('x')),
    1,
  );
  assert.deepEqual(heard, ['g:dev']);
});

// row C1 · guards src/session/sessions.ts
test('however many sessions are opened and abandoned, memory holds at most its ceiling', () => {
  const { sessions } = hub([SECRET], { sessions: 1000 });
  for (let i = 0; i < 5000; i += 1) sessions.mint(WISH);
  assert.equal(sessions.size, 1000);
});

test('a session is the same on the hub that made it and on one that revives it, and holds no name longer than its seal does', () => {
  const wish = { ...WISH, clientName: `é${'n'.repeat(1_000_000)}`, path: `groups:${'a-slug,'.repeat(100)}` };
  const first = hub();
  const minted = first.sessions.mint(wish);
  const revived = hub().sessions.find(minted.id, alice);
  assert.ok(!isRefusal(revived));
  assert.deepEqual({ ...revived, usedMs: 0 }, { ...minted, usedMs: 0 });
  assert.equal(Buffer.byteLength(minted.clientName), 40);
  assert.equal(minted.path, sealedPath(wish.path));
  assert.equal(sealedPath('group:dev'), 'group:dev');
});

test('users and families whose long ids begin alike stay two', () => {
  const { sessions } = hub();
  const long = { ...alice, userId: `https://issuer/${'x'.repeat(100)}/1`, family: 'f'.repeat(60) };
  const { id } = sessions.mint({ ...WISH, principal: long });
  assert.equal(code(hub().sessions.find(id, long)), 'found');
  assert.equal(code(sessions.find(id, { ...long, userId: long.userId.replace('/1', '/2') })), 'session-unknown');
  assert.equal(code(sessions.find(id, { ...long, family: 'f'.repeat(61) })), 'session-unknown');
});

test('a flood of new sessions closes nobody’s stream', () => {
  const { sessions } = hub([SECRET], { sessions: 100 });
  const closed: string[] = [];
  const heard: string[] = [];
  const session = sessions.mint(WISH);
  sessions.attach(session, { send: (message) => heard.push(String(message)) > 0, close: (why) => closed.push(why) });
  for (let i = 0; i < 300; i += 1) sessions.mint(WISH);
  assert.equal(sessions.send(session, Buffer.from('hello')), true);
  assert.deepEqual([heard, closed, sessions.size, sessions.streams], [['hello'], [], 100, 1]);
  assert.equal(code(sessions.find(session.id, alice)), 'found');
});

test('when all places for streams are taken the newcomer is closed, and a session that has one may open another', () => {
  const { sessions } = hub([SECRET], { streams: 16 });
  const closed: string[] = [];
  const stream = (name: string) => ({ send: () => true, close: (why: string) => closed.push(`${name} ${why}`) });
  const all = Array.from({ length: 17 }, () => sessions.mint(WISH));
  all.forEach((session, at) => {
    sessions.attach(session, stream(`${at}`));
  });
  assert.deepEqual(closed, ['16 too-many-streams']);
  const first = all[0];
  assert.ok(first);
  sessions.attach(first, stream('again'));
  assert.deepEqual(closed, ['16 too-many-streams']);
});

test('a broadcast to thousands takes several turns, meets the newest streams, and ends when the registry stops', () => {
  const { sessions, advance } = hub();
  let heard = 0;
  let lastHeard = 0;
  const listening = Array.from({ length: 1000 }, () => sessions.mint(WISH));
  for (const session of listening) sessions.attach(session, { send: () => ++heard > 0, close: () => {} });
  assert.equal(
    sessions.broadcast(() => true, Buffer.from('x')),
    1000,
  );
  assert.ok(heard < 1000, `${heard} at once`);
  const last = listening.at(-1);
  assert.ok(last);
  sessions.attach(last, { send: () => ++lastHeard > 0, close: () => {} });
  advance(1000);
  assert.deepEqual([heard, lastHeard], [999, 1]);
  sessions.broadcast(() => true, Buffer.from('y'));
  const before = heard;
  sessions.stop();
  advance(1000);
  assert.equal(heard, before);
});

test('ending twice tells once; nothing attaches to what has ended', () => {
  const { sessions, facts } = hub();
  const told: string[] = [];
  sessions.onEnded((tombstone) => told.push(tombstone.id));
  const session = sessions.mint(WISH);
  sessions.end(session.id);
  sessions.end(session.id);
  sessions.end('not an id');
  assert.deepEqual(told, [session.random]);
  assert.deepEqual(
    facts.filter((fact) => fact.type === 'session-ended').map((fact) => fact.session),
    [session.random.slice(0, 8)],
  );
  const closed: string[] = [];
  sessions.attach(session, { send: () => true, close: (why) => closed.push(why) });
  assert.deepEqual(closed, ['session-ended']);
});

test('a tombstone is remembered as long as its id is valid, and closes the stream where it arrives', () => {
  const { sessions, advance, kernel } = hub([SECRET], { sessionMs: 60_000 });
  const session = sessions.mint(WISH);
  const closed: string[] = [];
  sessions.attach(session, { send: () => true, close: (why) => closed.push(why) });
  const tombstone = { id: session.random, atMs: kernel.clock.wallMs() };
  sessions.bury(tombstone);
  sessions.bury(tombstone);
  assert.deepEqual(closed, ['session-ended']);
  assert.equal(code(sessions.find(session.id, alice)), 'session-ended');
  const kept = () => kernel.ceilings.table().find((row) => row.name === 'session.tombstones')?.size;
  assert.equal(kept(), 1);
  advance(130_000);
  assert.equal(kept(), 0);
  assert.equal(code(sessions.find(session.id, alice)), 'session-unknown');
});

test('ten thousand sessions and more are swept, a slice a turn', () => {
  const { sessions, advance } = hub([SECRET], { sessionIdleMs: 10_000 });
  for (let i = 0; i < 12_000; i += 1) sessions.mint(WISH);
  advance(60_000);
  assert.ok(sessions.size > 0 && sessions.size <= 2000, `${sessions.size} after the first slice`);
  advance(100);
  assert.equal(sessions.size, 0);
  sessions.stop();
  sessions.stop();
});

test('a session in memory costs at most 600 bytes, and nothing once it is swept', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { sessions, advance } = hub([SECRET], { sessionIdleMs: 10_000 });
  const heapBytes = async () => {
    // The runner notes every crypto job until a turn of the loop after it was collected.
    for (let turn = 0; turn < 2; turn += 1) {
      collect();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  // The first round warms up: compiled code and the tables' own growth are no session's cost.
  let [each, left] = [0, 0];
  for (let round = 0; round < 3; round += 1) {
    const before = await heapBytes();
    for (let i = 0; i < 6000; i += 1) sessions.mint({ ...WISH, clientName: `client ${i % 50}` });
    each = ((await heapBytes()) - before) / 6000;
    advance(75_000);
    assert.equal(sessions.size, 0);
    left = (await heapBytes()) - before;
  }
  assert.ok(each > 100 && each < 600, `${each} bytes`);
  assert.ok(left < each * 600, `${left} bytes left`);
});

test('a key that ends sessions without end never revives an ended session of another key', () => {
  const { sessions } = hub([SECRET], { tombstones: 100, tombstonesPerKey: 100, sessions: 100, sessionsPerKey: 100 });
  const bob: Principal = { ...alice, userId: 'u-bob', family: 'f-2' };
  const ended = sessions.mint({ ...WISH, principal: bob });
  sessions.end(ended.id);
  for (let n = 0; n < 1000; n += 1) sessions.end(sessions.mint(WISH).id);
  assert.equal(code(sessions.find(ended.id, bob)), 'session-ended');
});

test('a session without a key is counted for the address that opened it', () => {
  const { sessions, kernel } = hub([SECRET], { sessions: 100, sessionsPerKey: 10 });
  for (let n = 0; n < 50; n += 1) sessions.mint({ ...WISH, owner: 'address:10.0.0.1' });
  const other = sessions.mint({ ...WISH, owner: 'address:10.0.0.2' });
  assert.deepEqual([sessions.size, other.owner], [11, 'address:10.0.0.2']);
  assert.equal(kernel.ceilings.table().find(({ name }) => name === 'session.sessions')?.share, 10);
});

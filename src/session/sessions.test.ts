// covers: A5, B8, B9, P12
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import type { Principal } from '../model/principal.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { decodeSessionToken, encodeSessionToken, sealedPath } from './session-token.ts';
import { type Session, Sessions } from './sessions.ts';

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
const NEW_SESSION = {
  principal: alice,
  path: '*',
  version: '2025-11-25',
  clientName: 'cursor',
  clientVersion: '1.2',
  capabilityBits: 5,
};

function worker(secrets = [SECRET], overrides: Record<string, number> = {}) {
  const frozen = frozenRuntime();
  return {
    ...frozen,
    sessions: new Sessions({
      runtime: frozen.runtime,
      limits: limitsFrom(overrides),
      keyRing: createKeyRing(secrets),
    }),
  };
}

function code(outcome: Outcome<Session>): string {
  return isRefusal(outcome) ? outcome.code : 'found';
}

test('session ids are visible ASCII of at most 512 characters, for any names', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300, unit: 'grapheme' }), fc.string({ maxLength: 300 }), (clientName, path) => {
      const { id } = worker().sessions.create({
        ...NEW_SESSION,
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

test('decodes a session token to what was encoded', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 10 }), fc.nat(255), fc.nat(), (text, capabilityBits, issuedMs) => {
      const token = {
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
      assert.deepEqual(decodeSessionToken(encodeSessionToken(token)), { ...token });
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void decodeSessionToken(Buffer.from(bytes))));
});

test('a worker with the same secret opens the session, also after a kill', () => {
  const { id } = worker().sessions.create(NEW_SESSION);
  const revived = worker().sessions.find(id, alice);
  assert.ok(!isRefusal(revived));
  assert.deepEqual(
    [revived.clientName, revived.version, revived.capabilityBits, revived.path],
    ['cursor', '2025-11-25', 5, '*'],
  );
  assert.equal(
    code(worker([Buffer.from('another secret, another product')]).sessions.find(id, alice)),
    'session-unknown',
  );
});

test('keeps old sessions when a new secret is put first', () => {
  const { id } = worker().sessions.create(NEW_SESSION);
  assert.equal(
    code(worker([Buffer.from('the next secret after a rotation'), SECRET]).sessions.find(id, alice)),
    'found',
  );
});

test('keeps the session when its key is rotated; another user or key family gets session-unknown', () => {
  const { sessions } = worker();
  const { id } = sessions.create(NEW_SESSION);
  assert.equal(code(sessions.find(id, { ...alice, keyId: 'k-2' })), 'found');
  assert.equal(code(sessions.find(id, { ...alice, family: 'f-2' })), 'session-unknown');
  assert.equal(code(sessions.find(id, { ...alice, userId: 'u-bob' })), 'session-unknown');
});

// row C7 · guards src/session/session-token.ts
test('an id with any altered character is unknown', () => {
  const { sessions } = worker();
  const { id } = sessions.create(NEW_SESSION);
  for (let at = 0; at < id.length; at += 7) {
    const altered = `${id.slice(0, at)}${id[at] === 'A' ? 'B' : 'A'}${id.slice(at + 1)}`;
    assert.equal(code(sessions.find(altered, alice)), 'session-unknown');
  }
  assert.equal(code(sessions.find('', alice)), 'session-unknown');
  assert.equal(code(sessions.find('x'.repeat(100_000), alice)), 'session-unknown');
});

test('after DELETE the session has ended here, and on other workers when the tombstone arrives', () => {
  const first = worker();
  const second = worker();
  first.sessions.onTombstone((tombstone) => second.sessions.applyTombstone(tombstone));
  const { id } = first.sessions.create(NEW_SESSION);
  assert.equal(code(second.sessions.find(id, alice)), 'found');
  first.sessions.end(id);
  assert.equal(code(first.sessions.find(id, alice)), 'session-ended');
  assert.equal(code(second.sessions.find(id, alice)), 'session-ended');
});

// row C3 · guards src/session/sessions.ts
test('removes idle sessions from memory and opens them again; keeps those with an open stream', () => {
  const { sessions, advance } = worker([SECRET], { sessionIdleMs: 120_000 });
  const { id } = sessions.create(NEW_SESSION);
  const streaming = sessions.create(NEW_SESSION);
  sessions.attach(streaming, { send: () => true, close: () => {} });
  advance(300_000);
  assert.equal(sessions.size, 1);
  assert.equal(code(sessions.find(id, alice)), 'found');
});

test('a session older than sessionMs is unknown', () => {
  const { sessions, advance } = worker([SECRET], { sessionMs: 60_000 });
  const { id } = sessions.create(NEW_SESSION);
  advance(61_000);
  assert.equal(code(sessions.find(id, alice)), 'session-unknown');
});

// row C5 · guards src/session/_open-streams.ts
// case: CL36
test('of several streams the newest receives messages, and the others stay open', () => {
  const { sessions } = worker();
  const session = sessions.create(NEW_SESSION);
  const closed: string[] = [];
  const received: string[] = [];
  const stream = (name: string) => ({
    send: (message: Buffer) => received.push(`${name} ${message}`) > 0,
    close: (reason: string) => void closed.push(`${name} ${reason}`),
  });
  const [old, young] = [stream('old'), stream('young')];
  sessions.attach(session, old);
  sessions.attach(session, young);
  assert.deepEqual(closed, []);
  sessions.send(session, Buffer.from('1'));
  sessions.detach(session, young);
  sessions.send(session, Buffer.from('2'));
  assert.deepEqual(received, ['young 1', 'old 2']);
  for (const name of ['b', 'c', 'd']) sessions.attach(session, stream(name));
  assert.deepEqual(closed, []);
  sessions.attach(session, stream('e'));
  assert.deepEqual(closed, ['old replaced'], 'of too many the oldest is closed');
  sessions.end(session.id);
  assert.deepEqual(closed, ['old replaced', ...['b', 'c', 'd', 'e'].map((name) => `${name} session-ended`)]);
  assert.equal(sessions.send(session, Buffer.from('x')), false);
});

test('sends a message only to the streams of its sessions', () => {
  const { sessions } = worker();
  const received: string[] = [];
  for (const path of ['*', 'g:dev']) {
    const session = sessions.create({ ...NEW_SESSION, path });
    sessions.attach(session, { send: () => received.push(path) > 0, close: () => {} });
  }
  assert.equal(
    sessions.broadcast((session) => session.path === 'g:dev', Buffer.from('x')),
    1,
  );
  assert.deepEqual(received, ['g:dev']);
});

// row C1 · guards src/session/sessions.ts
test('holds at most `sessions` sessions in memory, however many are opened', () => {
  const { sessions } = worker([SECRET], { sessions: 1000 });
  for (let i = 0; i < 5000; i += 1) sessions.create(NEW_SESSION);
  assert.equal(sessions.size, 1000);
});

test('a session is equal on the worker that created it and on one that opens it, with truncated names', () => {
  const newSession = {
    ...NEW_SESSION,
    clientName: `é${'n'.repeat(1_000_000)}`,
    path: `groups:${'a-slug,'.repeat(100)}`,
  };
  const first = worker();
  const minted = first.sessions.create(newSession);
  const revived = worker().sessions.find(minted.id, alice);
  assert.ok(!isRefusal(revived));
  assert.deepEqual({ ...revived, usedMs: 0 }, { ...minted, usedMs: 0 });
  assert.equal(Buffer.byteLength(minted.clientName), 40);
  assert.equal(minted.path, sealedPath(newSession.path));
  assert.equal(sealedPath('group:dev'), 'group:dev');
});

test('distinguishes users and families whose long ids have the same prefix', () => {
  const { sessions } = worker();
  const long = { ...alice, userId: `https://issuer/${'x'.repeat(100)}/1`, family: 'f'.repeat(60) };
  const { id } = sessions.create({ ...NEW_SESSION, principal: long });
  assert.equal(code(worker().sessions.find(id, long)), 'found');
  assert.equal(code(sessions.find(id, { ...long, userId: long.userId.replace('/1', '/2') })), 'session-unknown');
  assert.equal(code(sessions.find(id, { ...long, family: 'f'.repeat(61) })), 'session-unknown');
});

test('many new sessions close no stream', () => {
  const { sessions } = worker([SECRET], { sessions: 100 });
  const closed: string[] = [];
  const received: string[] = [];
  const session = sessions.create(NEW_SESSION);
  sessions.attach(session, { send: (message) => received.push(String(message)) > 0, close: (why) => closed.push(why) });
  for (let i = 0; i < 300; i += 1) sessions.create(NEW_SESSION);
  assert.equal(sessions.send(session, Buffer.from('hello')), true);
  assert.deepEqual([received, closed, sessions.size, sessions.streams], [['hello'], [], 100, 1]);
  assert.equal(code(sessions.find(session.id, alice)), 'found');
});

test('closes a new stream when the limit is reached; a session with a stream may open another', () => {
  const { sessions } = worker([SECRET], { streams: 16 });
  const closed: string[] = [];
  const stream = (name: string) => ({ send: () => true, close: (why: string) => closed.push(`${name} ${why}`) });
  const all = Array.from({ length: 17 }, () => sessions.create(NEW_SESSION));
  all.forEach((session, at) => {
    sessions.attach(session, stream(`${at}`));
  });
  assert.deepEqual(closed, ['16 too-many-streams']);
  const first = all[0];
  assert.ok(first);
  sessions.attach(first, stream('again'));
  assert.deepEqual(closed, ['16 too-many-streams']);
});

test('a broadcast to thousands takes several turns, uses the newest streams, and ends when the registry stops', () => {
  const { sessions, advance } = worker();
  let received = 0;
  let lastHeard = 0;
  const listening = Array.from({ length: 1000 }, () => sessions.create(NEW_SESSION));
  for (const session of listening) sessions.attach(session, { send: () => ++received > 0, close: () => {} });
  assert.equal(
    sessions.broadcast(() => true, Buffer.from('x')),
    1000,
  );
  assert.ok(received < 1000, `${received} at once`);
  const last = listening.at(-1);
  assert.ok(last);
  sessions.attach(last, { send: () => ++lastHeard > 0, close: () => {} });
  advance(1000);
  assert.deepEqual([received, lastHeard], [999, 1]);
  sessions.broadcast(() => true, Buffer.from('y'));
  const before = received;
  sessions.stop();
  advance(1000);
  assert.equal(received, before);
});

test('ending twice notifies once; an ended session accepts no stream', () => {
  const { sessions, facts } = worker();
  const told: string[] = [];
  sessions.onTombstone((tombstone) => told.push(tombstone.id));
  const session = sessions.create(NEW_SESSION);
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

test('keeps a tombstone as long as the id is valid, and closes the stream when it arrives', () => {
  const { sessions, advance, runtime } = worker([SECRET], { sessionMs: 60_000 });
  const session = sessions.create(NEW_SESSION);
  const closed: string[] = [];
  sessions.attach(session, { send: () => true, close: (why) => closed.push(why) });
  const tombstone = { id: session.random, atMs: runtime.clock.wallMs() };
  sessions.applyTombstone(tombstone);
  sessions.applyTombstone(tombstone);
  assert.deepEqual(closed, ['session-ended']);
  assert.equal(code(sessions.find(session.id, alice)), 'session-ended');
  const kept = () => runtime.ceilings.table().find((row) => row.name === 'session.tombstones')?.size;
  assert.equal(kept(), 1);
  advance(130_000);
  assert.equal(kept(), 0);
  assert.equal(code(sessions.find(session.id, alice)), 'session-unknown');
});

test('sweeps more than ten thousand sessions, one slice in each turn', () => {
  const { sessions, advance } = worker([SECRET], { sessionIdleMs: 10_000 });
  for (let i = 0; i < 12_000; i += 1) sessions.create(NEW_SESSION);
  advance(60_000);
  assert.ok(sessions.size > 0 && sessions.size <= 2000, `${sessions.size} after the first slice`);
  advance(100);
  assert.equal(sessions.size, 0);
  sessions.stop();
  sessions.stop();
});

test('a session takes at most 600 bytes of memory, and none after the sweep', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { sessions, advance } = worker([SECRET], { sessionIdleMs: 10_000 });
  const heapBytes = async () => {
    // The test runner tracks every crypto job until the turn after it was collected.
    for (let turn = 0; turn < 2; turn += 1) {
      collect();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    collect();
    return process.memoryUsage().heapUsed;
  };
  // The first round warms up: compiled code and the growth of tables do not belong to a session.
  let [each, left] = [0, 0];
  for (let round = 0; round < 3; round += 1) {
    const before = await heapBytes();
    for (let i = 0; i < 6000; i += 1) sessions.create({ ...NEW_SESSION, clientName: `client ${i % 50}` });
    each = ((await heapBytes()) - before) / 6000;
    advance(75_000);
    assert.equal(sessions.size, 0);
    left = (await heapBytes()) - before;
  }
  assert.ok(each > 100 && each < 600, `${each} bytes`);
  assert.ok(left < each * 600, `${left} bytes left`);
});

test('a key that ends many sessions never revives an ended session of another key', () => {
  const { sessions } = worker([SECRET], { tombstones: 100, tombstonesPerKey: 100, sessions: 100, sessionsPerKey: 100 });
  const bob: Principal = { ...alice, userId: 'u-bob', family: 'f-2' };
  const ended = sessions.create({ ...NEW_SESSION, principal: bob });
  sessions.end(ended.id);
  for (let n = 0; n < 1000; n += 1) sessions.end(sessions.create(NEW_SESSION).id);
  assert.equal(code(sessions.find(ended.id, bob)), 'session-ended');
});

test('a session without a key is charged to the address that opened it', () => {
  const { sessions, runtime } = worker([SECRET], { sessions: 100, sessionsPerKey: 10 });
  for (let n = 0; n < 50; n += 1) sessions.create({ ...NEW_SESSION, owner: 'address:10.0.0.1' });
  const other = sessions.create({ ...NEW_SESSION, owner: 'address:10.0.0.2' });
  assert.deepEqual([sessions.size, other.owner], [11, 'address:10.0.0.2']);
  assert.equal(runtime.ceilings.table().find(({ name }) => name === 'session.sessions')?.share, 10);
});

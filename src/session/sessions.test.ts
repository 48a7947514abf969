// covers: A5, B8, B9
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import type { Principal } from '../kernel/principal.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { createSessions, type Session } from './sessions.ts';
import { decodeStatement, encodeStatement } from './statement.ts';

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

test('the newest stream wins, and only its own end detaches it', () => {
  const { sessions } = hub();
  const session = sessions.mint(WISH);
  const closed: string[] = [];
  const stream = (name: string) => ({ send: () => true, close: (reason: string) => closed.push(`${name} ${reason}`) });
  const [old, young] = [stream('old'), stream('young')];
  sessions.attach(session, old);
  sessions.attach(session, young);
  assert.deepEqual(closed, ['old replaced']);
  sessions.detach(session, old);
  assert.equal(sessions.send(session, Buffer.from('x')), true);
  sessions.end(session.id);
  assert.deepEqual(closed, ['old replaced', 'young session-ended']);
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

test('however many sessions are opened and abandoned, memory holds at most its ceiling', () => {
  const { sessions } = hub([SECRET], { sessions: 1000 });
  for (let i = 0; i < 5000; i += 1) sessions.mint(WISH);
  assert.equal(sessions.size, 1000);
});

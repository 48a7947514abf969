import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupSpec, serverSpec, worldOf } from '../../test/support/catalog-worlds.ts';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { holderOf } from '../../test/support/small-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { SessionPreferences } from '../session/preferences.ts';
import { Sessions } from '../session/sessions.ts';
import { connectionOwnerOf, everybodyOf } from './updates.ts';

function rig() {
  const { runtime } = frozenRuntime();
  const limits = limitsFrom({});
  const preferences = new SessionPreferences({ runtime, limits });
  const sessions = new Sessions({ runtime, limits, keyRing: createKeyRing([Buffer.alloc(32, 7)]) });
  const servers = [serverSpec('git'), serverSpec('files'), serverSpec('asks', { interactive: true })];
  const groups = [groupSpec('dev', ['git']), groupSpec('every', '*')];
  const snapshots = holderOf(worldOf(servers, [], groups));
  const everybody = everybodyOf({ runtime, limits, preferences, sessions, snapshots });
  const session = (random: string, path: string) => ({ random, owner: 'k', path });
  return { preferences, everybody, session, sessions };
}

// finding: SR-M8
test('asks a server for the most verbose level of the sessions that can use it, and for no other', () => {
  const { preferences, everybody, session } = rig();
  const levels = () => ['git', 'files'].map((server) => everybody.logLevel(server));
  preferences.setLevel(session('a', 'group:dev'), 'debug');
  assert.deepEqual(levels(), ['debug', undefined]);
  preferences.setLevel(session('b', 'server:files'), 'error');
  assert.deepEqual(levels(), ['debug', 'error']);
  preferences.setLevel(session('c', 'groups:dev,every'), 'warning');
  assert.deepEqual(levels(), ['debug', 'warning']);
  preferences.remove('a');
  preferences.setLevel(session('d', 'all'), 'info');
  assert.deepEqual(levels(), ['info', 'info']);
});

test('a server that asks its users gets the subscriptions of clients without a session on its shared link only', () => {
  const { preferences, everybody, session } = rig();
  for (const server of ['git', 'asks'])
    for (const id of ['a', '~b'])
      preferences.subscribe(session(id, 'all'), { server, uri: `x://${id}`, named: `x://${id}` });
  assert.deepEqual(everybody.subscriptions('git'), ['x://a', 'x://~b']);
  assert.deepEqual(everybody.subscriptions('asks'), ['x://~b']);
});

// finding: SR-A9
test('on the connection of one session a server passes on updates of its own resources only', () => {
  const { preferences, session, sessions } = rig();
  const sent: string[] = [];
  const principal = { userId: 1, family: 'f' };
  const made = { ...session('a', 'all'), ...principal, capabilityBits: 0 };
  for (const [server, named] of [
    ['asks', 'x://own'],
    ['git', 'mcphub://git/x%3A%2F%2Fother'],
  ] as const)
    preferences.subscribe(made, { server, uri: server === 'asks' ? 'x://own' : 'x://other', named });
  const told = { ...sessions, sendTo: (_id: string, frame: Buffer) => sent.push(frame.toString()) > 0 };
  const owner = connectionOwnerOf(made as never, {} as never, { preferences, sessions: told, questions: {} } as never);
  const update = (text: string) => owner.notify('asks', 'notifications/resources/updated', Buffer.from(text));
  assert.ok(update('{"uri":"x://own"}'));
  assert.ok(update('{"uri":"x://own/part"}'));
  for (const text of [
    '{"uri":"x://other"}',
    '{"uri":"mcphub://git/x%3A%2F%2Fother"}',
    '{"uri":"x://own","uri":"x://other"}',
    '{"uri":5}',
  ])
    assert.equal(update(text), false, text);
  assert.equal(sent.length, 2);
});

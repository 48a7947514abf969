import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { LOCAL_PRINCIPAL } from '../model/principal.ts';
import type { SessionRecord } from '../relay/relay-messages.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { SessionPreferences } from '../session/preferences.ts';
import { Sessions } from '../session/sessions.ts';
import { createSessionRecords } from './session-records.ts';

const ANN = { ...LOCAL_PRINCIPAL, userId: 'u-ann', family: 'f-ann' };
const NEW_SESSION = { path: 'all', version: '2025-11-25', clientName: 'c', clientVersion: '1', capabilityBits: 0 };

/** Sessions, preferences and session records of one worker. */
function worker() {
  const { runtime } = frozenRuntime();
  const limits = limitsFrom({});
  const sessions = new Sessions({ runtime, limits, keyRing: createKeyRing([Buffer.alloc(32, 's')]) });
  const preferences = new SessionPreferences({ runtime, limits });
  sessions.onEnd((id) => preferences.remove(id));
  const registry = { statuses: () => [], preferencesChanged() {} };
  const records = createSessionRecords({ sessions, preferences, registry: registry as never });
  const sent: SessionRecord[] = [];
  records.onRecord((record) => sent.push(record));
  return { sessions, preferences, records, sent, held: (name: string) => row(runtime.ceilings.table(), name) };
}

function row(table: readonly { readonly name: string; readonly size: number }[], name: string): number | undefined {
  return table.find((one) => one.name === name)?.size;
}

test('ignores preferences that arrive after their session has ended, and keeps no entry', () => {
  const one = worker();
  const session = one.sessions.create({ ...NEW_SESSION, principal: ANN });
  one.preferences.setLevel(session, 'debug');
  const sentBefore = [...one.sent];
  one.sessions.end(session.id);
  one.records.apply(sentBefore);
  assert.deepEqual([one.preferences.level(session.random), one.held('session.notes')], [undefined, 0]);
});

// finding: SR-H3
test('ends a session that is known only from its preferences when its key is revoked', () => {
  const [first, second] = [worker(), worker()];
  const session = first.sessions.create({ ...NEW_SESSION, principal: ANN });
  const other = first.sessions.create({ ...NEW_SESSION, principal: LOCAL_PRINCIPAL });
  for (const one of [session, other]) first.preferences.setLevel(one, 'debug');
  second.records.apply(first.sent);
  assert.equal(second.held('session.notes'), 2);
  second.sessions.endOwned(ANN, second.preferences.ownedBy(ANN.family));
  assert.deepEqual([second.held('session.notes'), second.preferences.level(other.random)], [1, 'debug']);
  assert.equal(second.sessions.hasEnded(session.random), true);
  assert.deepEqual(
    second.sent.map(({ id, wishes }) => [id, wishes]),
    [[session.random, undefined]],
  );
  // Its tombstone ends the session on the other worker too.
  first.records.apply(second.sent);
  assert.equal(first.held('session.notes'), 1);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { LOCAL_PRINCIPAL } from '../kernel/principal.ts';
import type { SessionRecord } from '../relay/relay-messages.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { createNotes } from '../session/preferences.ts';
import { createSessions } from '../session/sessions.ts';
import { createSessionMarks } from './session-records.ts';

const ANN = { ...LOCAL_PRINCIPAL, userId: 'u-ann', family: 'f-ann' };
const WISH = { path: 'all', version: '2025-11-25', clientName: 'c', clientVersion: '1', capabilityBits: 0 };

/** One worker's sessions, preferences and marks. */
function worker() {
  const { kernel } = frozenKernel();
  const limits = limitsFrom({});
  const sessions = createSessions({ kernel, limits, keyRing: createKeyRing([Buffer.alloc(32, 's')]) });
  const notes = createNotes({ kernel, limits });
  sessions.onOver((id) => notes.forget(id));
  const fleet = { statuses: () => [], wishesChanged() {} };
  const marks = createSessionMarks({ sessions, notes, fleet: fleet as never });
  const sent: SessionRecord[] = [];
  marks.onMark((mark) => sent.push(mark));
  return { sessions, notes, marks, sent, held: (name: string) => row(kernel.ceilings.table(), name) };
}

function row(table: readonly { readonly name: string; readonly size: number }[], name: string): number | undefined {
  return table.find((one) => one.name === name)?.size;
}

test('preferences that come back after the end of their session are refused, and the session leaves no entry', () => {
  const one = worker();
  const session = one.sessions.mint({ ...WISH, principal: ANN });
  one.notes.setLevel(session, 'debug');
  const told = [...one.sent];
  one.sessions.end(session.id);
  one.marks.take(told);
  assert.deepEqual([one.notes.level(session.random), one.held('session.notes')], [undefined, 0]);
});

// finding: SR-H3
test('a worker that knows a session from its preferences only ends it when the key is revoked', () => {
  const [first, second] = [worker(), worker()];
  const session = first.sessions.mint({ ...WISH, principal: ANN });
  const other = first.sessions.mint({ ...WISH, principal: LOCAL_PRINCIPAL });
  for (const one of [session, other]) first.notes.setLevel(one, 'debug');
  second.marks.take(first.sent);
  assert.equal(second.held('session.notes'), 2);
  second.sessions.endOwned(ANN, second.notes.ownedBy(ANN.family));
  assert.deepEqual([second.held('session.notes'), second.notes.level(other.random)], [1, 'debug']);
  assert.equal(second.sessions.hasEnded(session.random), true);
  assert.deepEqual(
    second.sent.map(({ id, wishes }) => [id, wishes]),
    [[session.random, undefined]],
  );
  // What it has announced ends the session at the other worker too.
  first.marks.take(second.sent);
  assert.equal(first.held('session.notes'), 1);
});

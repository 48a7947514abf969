import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { HubError } from '../../model/errors.ts';
import type { LearnedOpening } from '../../model/raw-listing.ts';
import { OpeningMemory } from './opening-memory.ts';

const NEWEST = { date: '2025-11-25', hasHeader: false };
const exit = (message = 'It ended (exit code 3).') =>
  new HubError('upstream-exit', { message, detail: { exitCode: 3 } });
const hello = (version: string) => ({
  version: '2024-11-05',
  name: 'a',
  serverVersion: version,
  capabilities: {},
  instructions: '',
});

function memory(before?: LearnedOpening) {
  const frozen = frozenRuntime();
  const { runtime } = frozen;
  let hash = 'h';
  const own = new OpeningMemory(
    runtime.clock,
    () => hash,
    () => before,
  );
  return { own, frozen, change: () => (hash = 'other') };
}

/** Plays a process that exits when it is offered a version. */
function exits(own: OpeningMemory, message?: string): string {
  const { first } = own;
  own.offers(first);
  own.ended(exit(message));
  return first.date;
}

// case: SV7
test('a process that exits at a date is offered others, and after all of them the newest again', () => {
  const { own } = memory();
  const offered = Array.from({ length: 5 }, () => exits(own));
  assert.deepEqual(offered, ['2025-11-25', '2025-06-18', '2024-11-05', '2025-03-26', '2025-11-25']);
  assert.equal(own.learned, undefined);
});

// case: SV7
test('a date that it names comes next; an exit with code 0, by a signal, or before it was asked, says nothing', () => {
  const { own } = memory();
  exits(own, 'The process ended (exit code 3). Last lines: protocol 2025-11-25 is not 2025-03-26');
  assert.equal(own.first.date, '2025-03-26');
  for (const detail of [{ exitCode: 0 }, { signal: 'SIGKILL' }]) {
    const other = memory().own;
    other.offers(other.first);
    other.ended(new HubError('upstream-exit', { detail }));
    assert.deepEqual(other.first, NEWEST);
  }
  const unasked = memory().own;
  unasked.ended(exit());
  assert.deepEqual(unasked.first, NEWEST);
});

// case: SV7
test('what was learned ends with a day, with other settings, and with another version of the server', () => {
  const learned = { date: '2024-11-05', hasHeader: true, of: 'h' };
  assert.deepEqual(memory(learned).own.learned, learned);
  const later = memory(learned);
  assert.equal(later.own.first.date, '2024-11-05');
  later.frozen.advance(24 * 3600_000 + 1);
  assert.deepEqual(later.own.first, NEWEST);
  const changed = memory(learned);
  changed.change();
  assert.deepEqual(changed.own.first, NEWEST);
  const other = memory(learned).own;
  other.accepted(other.first);
  other.changed(hello('1'), hello('1'));
  assert.deepEqual(other.learned, learned);
  other.changed(hello('1'), hello('2'));
  assert.deepEqual([other.first, other.learned], [NEWEST, undefined]);
});

test('an exit without a reason is believed when it comes a second time', () => {
  const { own } = memory();
  exits(own);
  own.offers(own.first);
  own.accepted(own.first);
  assert.deepEqual([own.first, own.learned], [NEWEST, undefined]);
  exits(own);
  const { first } = own;
  assert.equal(first.date, '2025-06-18');
  own.accepted(first);
  assert.deepEqual(own.first.date, '2025-06-18');
  assert.equal(own.learned?.date, '2025-06-18');
});

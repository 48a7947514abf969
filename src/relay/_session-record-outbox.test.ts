import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ceilings } from '../kernel/capped.ts';
import { MarkOutbox } from './_session-record-outbox.ts';
import type { ControlWord } from './relay-messages.ts';

test('marks go out in lines of bounded size, as fast as the other side reads, and each session once', () => {
  const outbox = new MarkOutbox(10_000, new Ceilings());
  const wishes = 'x'.repeat(60_000);
  outbox.add(Array.from({ length: 100 }, (_, n) => ({ id: `m${n}`, atMs: 1, wishes })));
  outbox.add([{ id: 'm0', atMs: 2, wishes: undefined }]);
  const lines: Buffer[] = [];
  let unread = 0;
  const write = (line: Buffer): void => {
    lines.push(line);
    unread += line.length;
  };
  for (let drains = 0; drains < 100; drains += 1) {
    outbox.flush(() => unread, write);
    assert.ok(unread < 1_000_000, `${unread} bytes wait in the connection`);
    unread = 0;
  }
  assert.ok(Math.max(...lines.map((line) => line.length)) < 200_000);
  const ids = lines.flatMap((line) => {
    const word = JSON.parse(line.toString()) as ControlWord;
    return word.t === 'marks' ? word.marks.map(({ id, atMs }) => `${id}@${atMs}`) : [];
  });
  assert.equal(ids.length, 100);
  assert.equal(ids.at(-1), 'm0@2');
});

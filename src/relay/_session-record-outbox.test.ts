import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContainerLimits } from '../runtime/capped.ts';
import { SessionRecordOutbox } from './_session-record-outbox.ts';
import type { ControlMessage } from './relay-messages.ts';

test('sends records in lines of limited size, as fast as the worker reads, the newest of each session once', () => {
  const outbox = new SessionRecordOutbox(10_000, new ContainerLimits());
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
    const message = JSON.parse(line.toString()) as ControlMessage;
    return message.t === 'marks' ? message.marks.map(({ id, atMs }) => `${id}@${atMs}`) : [];
  });
  assert.equal(ids.length, 100);
  assert.equal(ids.at(-1), 'm0@2');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { createUpdatePace } from './update-pace.ts';

test('a flood of updates is sent at the pace of the limit, and the newest of each resource always arrives', () => {
  const { runtime, advance } = frozenRuntime();
  const pace = createUpdatePace({ runtime, limits: limitsFrom({ updatesPerSecond: 1000 }) });
  const sent: string[] = [];
  let messages = 0;
  const offer = (uri: string, version: number) =>
    pace.offer(uri, 10, () => {
      sent.push(`${uri}@${version}`);
      messages += 10;
      return 10;
    });
  for (let version = 0; version < 2000; version += 1) offer(`r${version % 10}`, version);
  const atOnce = messages;
  assert.ok(atOnce <= 1020, `${atOnce} messages at once`);
  for (let tick = 0; tick < 20; tick += 1) advance(100);
  assert.ok(messages <= atOnce + 2000, `${messages} messages in two seconds`);
  for (let r = 0; r < 10; r += 1) assert.ok(sent.includes(`r${r}@${1990 + r}`), `the last update of r${r}`);
  offer('r0', 5000);
  assert.equal(sent.at(-1), 'r0@5000');
});

test('an update that nobody is subscribed to costs nothing', () => {
  const { runtime } = frozenRuntime();
  const pace = createUpdatePace({ runtime, limits: limitsFrom({ updatesPerSecond: 100 }) });
  for (let n = 0; n < 10_000; n += 1) pace.offer(`r${n}`, 0, () => assert.fail('sent'));
  let sent = 0;
  pace.offer('r', 1, () => {
    sent += 1;
    return 1;
  });
  assert.equal(sent, 1);
});

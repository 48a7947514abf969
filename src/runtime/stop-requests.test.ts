import assert from 'node:assert/strict';
import { test } from 'node:test';
import { REPEAT_MS, stopRequests } from './stop-requests.ts';

test('takes what a process group and npm deliver together for one request, and a later signal for another', () => {
  const asked: string[] = [];
  let nowMs = 5;
  const signal = stopRequests<string>(
    (name) => asked.push(name),
    () => nowMs,
  );
  signal('SIGINT');
  signal('SIGINT');
  nowMs += REPEAT_MS - 1;
  signal('SIGTERM');
  assert.deepEqual(asked, ['SIGINT']);
  nowMs += 1;
  signal('SIGINT');
  signal('SIGTERM');
  assert.deepEqual(asked, ['SIGINT', 'SIGINT', 'SIGTERM']);
});

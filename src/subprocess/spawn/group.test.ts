/**
 * Programs that are to start at the same time start one after the other.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { createRuntime } from '../../runtime/runtime.ts';
import { type GroupPlan, spawnGroup } from './group.ts';
import { sameUser } from './isolation.ts';

// SR-M6: 32 children of interactive servers that started at once held one turn of the loop for 298 ms.
test('starts one program in a turn of the event loop, however many are to start', async () => {
  const runtime = createRuntime();
  using deadline = runtime.deadline(20_000);
  let turn = 0;
  let isOver = false;
  const count = (): void => {
    turn += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const plan: GroupPlan = {
    ...({ runtime, owner: 'test', label: 'upstream-start', stdin: 'ignore', isolation: sameUser([]) } as const),
    ...{ file: process.execPath, args: ['--version'], cwd: '/', env: {} },
  };
  const startedIn: number[] = [];
  const start = async (): Promise<void> => {
    const child = await spawnGroup(plan, deadline);
    startedIn.push(turn);
    await once(child, 'exit');
  };
  await Promise.all(Array.from({ length: 6 }, start));
  isOver = true;
  assert.equal(new Set(startedIn).size, 6, `started in the turns ${startedIn.join(', ')}`);
});

/**
 * The last assertion of a chaos test: the hub is as it was. Others are answered, health is quick, and what was taken is
 * given back.
 */
import assert from 'node:assert/strict';
import { type RunningHub, until } from './hub.ts';
import { askHub, Client, isResult, median } from './load.ts';

/** Of the promise 100 ms; ×2 + 20 ms and the room of a machine that tests share. */
const HEALTH_MS = 300;
const IDLE_MS = 30_000;
/** What is empty when nobody is there. */
const IDLE = /^(admission\.calls|downstream\.connections\.front|session\.streams|upstream\.in-flight|call\.questions)$/;
const CALL_WAITS = /^(upstream-call|upstream-queue|drain|body|owner-forward)$/;

/** `tool` is one that answers `{ text }`; all clients of the test must be closed before. */
export async function isUnharmed(hub: RunningHub, tool: string): Promise<void> {
  const client = new Client(hub);
  assert.ok(isResult(await client.call(tool, { text: 'unharmed' })), 'others are answered');
  client.close();
  const took: number[] = [];
  for (let look = 0; look < 5; look += 1) {
    const bornMs = performance.now();
    await (await fetch(`${hub.url}/health`, { headers: { connection: 'close' } })).arrayBuffer();
    took.push(performance.now() - bornMs);
  }
  assert.ok(median(took) <= HEALTH_MS, `/health takes ${Math.round(median(took))} ms`);
  let left: string[] = [];
  await until(
    async () => {
      const { waits } = await askHub(hub, '/api/waits');
      const { ceilings } = await askHub(hub, '/api/ceilings');
      left = [
        ...waits.flatMap((one: { label: string; owner: string }) =>
          CALL_WAITS.test(one.label) ? [`${one.label} of ${one.owner}`] : [],
        ),
        ...ceilings.flatMap((one: { name: string; size: number }) =>
          IDLE.test(one.name) && one.size > 0 ? [`${one.name} ${one.size}`] : [],
        ),
      ];
      return left.length === 0;
    },
    IDLE_MS,
    'idleness',
  ).catch(() => assert.deepEqual(left, [], 'back to idle'));
}

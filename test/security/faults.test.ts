/**
 * Faults of the hub's own code are seen: in its log, in its figures, and by every test that starts a hub.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHub, tryKill, until } from '../support/hub.ts';

test('a test whose hub logs a fault of its own fails when the hub is stopped, and the figures count the fault', async () => {
  const hub = await startHub({ config: { mcpServers: {} }, env: { MCPHUB_FAULT_HOOKS: '1', NODE_ENV: 'test' } });
  const [pid = 0] = hub.processes().hub ?? [];
  tryKill(pid, 'SIGXFSZ');
  await until(() => hub.log.includes('a rejection for a test'), 5000, 'the line');
  const answer = await fetch(`${hub.url}/api/health`, { headers: { authorization: `Bearer ${hub.key}` } });
  assert.match(await answer.text(), /"task-faulted":1\b/);
  await assert.rejects(async () => hub[Symbol.asyncDispose](), /faults of its own.*a rejection for a test/s);
});

// runs: in pairs
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { delay, environOf, type RunningHub, startHub, until } from '../support/hub.ts';
import { slowness, stdioServer } from '../support/load.ts';
import { callTool } from '../support/mcp.ts';

// case: SX1
describe('servers that hang at start', () => {
  const started = { hub: undefined as RunningHub | undefined, slow: 1 };
  const hub = (): RunningHub => started.hub as RunningHub;

  before(async () => {
    started.slow = await slowness();
    const env = { MCPHUB_STARTING: '2' };
    started.hub = await startHub({ config: { mcpServers: { ...hanging(), good: stdioServer() } }, env });
  });
  after(() => started.hub?.[Symbol.asyncDispose]());

  test('do not delay the start of another, its restart, or the message about it', async () => {
    await until(() => answers(hub()), 20_000, 'good answers');
    for (const name of Object.keys(hanging())) assert.equal(lossesOf(hub(), name), 0, `${name} is in its first try`);
    const states = await statesOf(hub());
    for (const name of Object.keys(hanging())) assert.equal(states[name], 'connecting', JSON.stringify(states));
    await heals(hub(), started.slow);
    await until(
      () => Object.keys(hanging()).every((name) => lossesOf(hub(), name) > 0),
      20_000,
      'they are tried again',
    );
    await heals(hub(), started.slow);
  });
});

/** Children that say nothing, and programs that never listen. */
function hanging(): Record<string, object> {
  const silent = { ...stdioServer('silent'), startMs: 8000 };
  const program = { command: process.execPath, args: ['-e', 'setInterval(() => {}, 1000)'] };
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the hub puts the port there
  const deaf = { type: 'http', url: 'http://127.0.0.1:${PORT}/mcp', startMs: 3000, installMs: 5000, launch: program };
  return { a1: silent, a2: silent, a3: deaf, a4: deaf };
}

/** Its child is killed; a new one serves within 3 s. */
async function heals(hub: RunningHub, slow: number): Promise<void> {
  const [pid] = hub.descendants().filter((one) => environOf(one).MCPHUB_MARK?.includes('.good.'));
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
  const bornMs = performance.now();
  await delay(50);
  await until(() => answers(hub), 30_000, 'good answers again');
  assert.ok(performance.now() - bornMs < Math.min(3000 * slow, 7000), `healed after ${performance.now() - bornMs} ms`);
}

async function answers(hub: RunningHub): Promise<boolean> {
  const { json } = await callTool(`${hub.url}/mcp`, 'good_echo', { text: 'x' }, { key: hub.key });
  return json.result?.content?.[0]?.text === 'x';
}

async function statesOf(hub: RunningHub): Promise<Record<string, string>> {
  const answer = await fetch(`${hub.url}/api/status`, { headers: { authorization: `Bearer ${hub.key}` } });
  const { servers } = (await answer.json()) as { servers: { name: string; state: string }[] };
  return Object.fromEntries(servers.map(({ name, state }) => [name, state]));
}

/** Failed starts of this server that the log tells of. */
function lossesOf(hub: RunningHub, name: string): number {
  return hub.lines.filter(({ event, upstream }) => event === 'server-was-lost' && upstream === name).length;
}

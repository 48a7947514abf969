/**
 * `mcphub bridge`: a client that can only start a program uses the hub through it, over the hub's own socket or a URL
 * with a key.
 */
// covers: A2
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { CLI, cleanEnv, type RunningHub, startHub, until } from '../support/hub.ts';
import { faultServer } from '../support/real-servers.ts';

describe('a bridge', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({
      config: { mcpServers: { fault: faultServer('normal') }, groups: { few: { servers: ['fault'] } } },
    });
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
  });

  async function connect(args: readonly string[], env: Record<string, string> = {}): Promise<Client> {
    const client = new Client({ name: 'bridged', version: '1' });
    await client.connect(
      new StdioClientTransport({
        command: process.execPath,
        args: [CLI, 'bridge', ...args],
        env: { ...(cleanEnv() as Record<string, string>), ...env },
        stderr: 'ignore',
      }),
    );
    return client;
  }

  const echo = async (client: Client, text: string): Promise<unknown> => {
    const answer = await client.callTool({ name: 'fault_echo', arguments: { text } });
    return (answer.content as { text: string }[])[0]?.text;
  };

  test('of this machine’s hub needs no key: it lists, calls, and hears a cancel', async () => {
    const client = await connect(['--data-dir', hub.dataDir]);
    await until(async () => (await client.listTools()).tools.length > 5, 30_000, 'the tools');
    assert.equal(await echo(client, 'über die Brücke'), 'über die Brücke');
    const cut = new AbortController();
    const slow = client.callTool({ name: 'fault_sleep', arguments: { ms: 30_000 } }, undefined, { signal: cut.signal });
    setTimeout(() => cut.abort(), 300);
    await assert.rejects(slow);
    assert.equal(await echo(client, 'after'), 'after');
    await client.close();
  });

  test('of a URL needs a key, and sees the group that it names', async () => {
    const client = await connect(['few', '--url', hub.url], { MCPHUB_KEY: hub.key });
    await until(async () => (await client.listTools()).tools.length > 5, 30_000, 'the tools');
    assert.equal(await echo(client, 'x'), 'x');
    await client.close();
    const refused = await run(['--url', hub.url], '', {});
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /MCPHUB_KEY/);
    const nonsense = await run(['--url', 'ftp://x'], '', { MCPHUB_KEY: hub.key });
    assert.equal(nonsense.code, 2, nonsense.stderr);
  });

  test('goes on when the hub is killed in between: the same client lists and calls', async () => {
    const client = await connect(['--data-dir', hub.dataDir]);
    await until(async () => (await client.listTools()).tools.length > 5, 30_000, 'the tools');
    for (const pid of hub.processes().hub ?? []) process.kill(pid, 'SIGKILL');
    await until(
      async () => (await echo(client, 'again').catch(() => undefined)) === 'again',
      60_000,
      'an answer of the new hub',
    );
    await client.close();
  });

  test('answers each request of a hub that is not there, says so once, and ends with its input', async () => {
    const lines = [1, 2].map((id) => JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }));
    const ran = await run(['--url', 'http://127.0.0.1:9'], `${lines.join('\n')}\nno json\n`, {
      MCPHUB_KEY: 'mcphub_x',
    });
    assert.equal(ran.code, 0, ran.stderr);
    const answers = ran.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(answers.map(({ id }) => id).sort(), [1, 2, null]);
    for (const { id, error } of answers) assert.match(error.message, id === null ? /JSON/ : /is it running/i);
    assert.equal(ran.stderr.split('ECONNREFUSED').length, 2, ran.stderr);
  });
});

function run(
  args: readonly string[],
  input: string,
  env: Record<string, string>,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, 'bridge', ...args], { env: { ...cleanEnv(), ...env } });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    child.once('close', (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

/**
 * The `mcphub` command against a running hub and against none: every command, with and without --json, its exit codes
 * and its words.
 */
// covers: A9, P18
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mcphub, type Ran } from '../support/cli.ts';
import { ROOT, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { callTool, openSession, rpc } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';

const AT_ONCE = 6;
const SECRET = /^mcphub_[0-9a-f]{64}$/;

// biome-ignore lint/suspicious/noExplicitAny: what the command prints is looked into by the tests
function jsonOf(ran: Ran, code = 0): any {
  assert.equal(ran.code, code, `${ran.stderr}\n${ran.stdout}`);
  return JSON.parse(ran.stdout);
}

function assertClean(ran: Ran): void {
  assert.equal(/^\s+at .+:\d+:\d+|\bError:/m.test(ran.stderr), false, ran.stderr);
}

/** A few at a time: a command is mostly the start of a process. */
async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<Ran>): Promise<{ of: T; ran: Ran }[]> {
  const done: { of: T; ran: Ran }[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    const some = items.slice(at, at + AT_ONCE);
    done.push(...(await Promise.all(some.map(async (of) => ({ of, ran: await work(of) })))));
  }
  return done;
}

describe('without a hub', { timeout: 300_000 }, () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'mcphub-cli-'));
  });
  after(() => {
    rmSync(dir, { recursive: true, force: true });
  });

  test('every command that needs a hub exits 5 and says what to do', async () => {
    const commands = [
      ['status'],
      ['waits'],
      ['reload'],
      ['keys', 'list'],
      ['keys', 'create', '--user', 'a', '--name', 'b'],
      ['keys', 'rotate', 'x'],
      ['keys', 'revoke', 'x'],
      ['servers', 'list'],
      ['servers', 'restart', 'x'],
      ['servers', 'logs', 'x'],
      ['tools', 'list'],
      ['tools', 'call', 'x'],
    ];
    const all = await inTurns(commands, (command) => mcphub([...command, '--data-dir', dir]));
    for (const { of: command, ran } of all) {
      assert.equal(ran.code, 5, `${command.join(' ')}: ${ran.stderr}`);
      assert.match(ran.stderr, /No hub is running on the data directory .+mcphub start/);
      assert.ok(ran.stderr.includes(dir));
      assert.equal(ran.stdout, '');
      assertClean(ran);
    }
  });

  test('--help of every command works and names what there is', async () => {
    const top = await mcphub(['--help']);
    assert.equal(top.code, 0);
    for (const word of ['start', 'config', 'keys', 'servers', 'tools', 'status', 'waits', 'reload']) {
      assert.match(top.stdout, new RegExp(`^  ${word}\\b`, 'm'));
    }
    const families: Record<string, string[]> = {
      config: ['validate', 'explain', 'schema'],
      keys: ['create', 'list', 'rotate', 'revoke'],
      servers: ['list', 'restart', 'logs'],
      tools: ['list', 'call'],
    };
    const commands = Object.entries(families).flatMap(([family, verbs]) => [
      [family],
      ...verbs.map((verb) => [family, verb]),
    ]);
    for (const word of ['start', 'status', 'waits', 'reload']) commands.push([word]);
    const all = await inTurns(commands, (command) => mcphub([...command, '--help']));
    for (const { of: command, ran } of all) {
      assert.equal(ran.code, 0, ran.stderr);
      assert.match(ran.stdout, new RegExp(`Usage: mcphub ${command.join(' ')}\\b`));
      const verbs = command.length === 1 ? (families[command[0] ?? ''] ?? []) : [];
      for (const verb of verbs) assert.match(ran.stdout, new RegExp(`^  ${verb}\\b`, 'm'), ran.stdout);
    }
    const version = await mcphub(['--version']);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
  });

  test('what is called wrongly exits 2 and names the fault', async () => {
    const wrong: [string[], RegExp][] = [
      [['keys', 'create', '--user', 'a'], /--name/],
      [['keys', 'create', '--user', 'a', '--name', 'b', '--role', 'king'], /--role must be owner or member/],
      [['keys', 'create', '--user', 'a', '--name', 'b', '--expires', 'soon'], /--expires must be a number of days/],
      [['keys', 'rotate'], /missing required argument 'id'/],
      [['status', '--timeout', 'never'], /--timeout must be between/],
      [['start', '--port', 'http'], /--port takes a whole number/],
      [['tools', 'call', 'x', 'novalue'], /name=value/],
      [['tools', 'call', 'x', '--args-json', '[1]'], /one JSON object/],
      [['tools', 'call', 'x', '--args-json', '{'], /not JSON/],
      [['server', 'list'], /Did you mean .*servers\?/],
      [['servers', 'lst'], /Did you mean list\?/],
    ];
    const all = await inTurns(wrong, ([command]) => mcphub(command, { env: { MCPHUB_DATA_DIR: dir } }));
    for (const { of, ran } of all) {
      const [command, words] = of;
      assert.equal(ran.code, 2, `${command.join(' ')}: ${ran.code} ${ran.stderr}`);
      assert.match(ran.stderr, words);
      assertClean(ran);
    }
  });

  test('config validate says what is wrong with line and path, and 0 when nothing is', async () => {
    const good = await mcphub(['config', 'validate', join(ROOT, 'examples/mcp_settings.json')]);
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stdout, /5 servers, 1 groups?, no errors/);
    const file = join(dir, 'bad.json');
    writeFileSync(file, '{\n  "mcpServers": {\n    "a": { "command": 5 }\n  }\n}\n');
    const bad = await mcphub(['config', 'validate', file]);
    assert.equal(bad.code, 78);
    assert.match(bad.stderr, /bad\.json:3/);
    assertClean(bad);
    const asJson = jsonOf(await mcphub(['config', 'validate', file, '--json']), 78);
    assert.equal(asJson.valid, false);
    assert.equal(asJson.problems[0].line, 3);
    const missing = await mcphub(['config', 'validate', join(dir, 'none.json')]);
    assert.equal(missing.code, 78);
    assert.match(missing.stderr, /none\.json/);
    assertClean(missing);
  });

  test('config explain names value and source of each setting; schema is a JSON Schema', async () => {
    const file = join(dir, 'explained.json');
    writeFileSync(file, '{\n  "mcpServers": {},\n  "limits": { "silenceMs": 7000 }\n}\n');
    const said = await mcphub(['config', 'explain', file]);
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /limits\.silenceMs\s+7000 ms\s+\S*explained\.json:3/);
    const env = jsonOf(await mcphub(['config', 'explain', file, '--json'], { env: { PORT: '4321' } }));
    const port = env.settings.find(({ name }: { name: string }) => name === 'limits.port');
    assert.equal(port.value, 4321);
    assert.match(port.source, /env/);
    const wrong = join(dir, 'unknown.json');
    writeFileSync(wrong, '{\n  "mcpServers": {},\n  "settings": { "silenceMs": 7000 }\n}\n');
    const refused = await mcphub(['config', 'explain', wrong]);
    assert.equal(refused.code, 78);
    assert.match(refused.stderr, /unknown\.json:3.+settings\.silenceMs/);
    const all = jsonOf(await mcphub(['config', 'explain', file, '--all', '--json']));
    assert.ok(all.settings.length > 30);
    const schema = jsonOf(await mcphub(['config', 'schema']));
    assert.ok(schema.properties.mcpServers);
  });
});

test('a server whose tools are visible is reported as ready, also right after a start', {
  timeout: 120_000,
}, async () => {
  await using hub = await startHub({ config: { mcpServers: { fault: faultServer('normal') } } });
  const visible = async () =>
    (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).json.result.tools.length > 0;
  await until(visible, 30_000, 'the tools');
  const answer = await fetch(`${hub.url}/api/servers`, { headers: { authorization: `Bearer ${hub.key}` } });
  const { servers } = (await answer.json()) as { servers: { name: string; state: string }[] };
  assert.deepEqual(
    servers.map(({ name, state }) => [name, state]),
    [['fault', 'ready']],
  );
});

describe('with a hub', { timeout: 300_000 }, () => {
  let hub: RunningHub;
  let mcp: string;
  before(async () => {
    const servers = { fault: faultServer('normal'), loud: faultServer('stderr-flood', '40') };
    const groups = { small: { servers: ['fault'], tools: { fault: ['echo', 'add'] } } };
    // Otherwise the watch is quicker than the command.
    hub = await startHub({ config: { mcpServers: servers, groups }, env: { MCPHUB_WATCH_CONFIG: '0' } });
    mcp = `${hub.url}/mcp`;
    await until(
      async () => (await rpc(mcp, 'tools/list', {}, { key: hub.key })).json.result.tools.length === 22,
      30_000,
      'both servers listed',
    );
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
  });

  function on(...args: string[]): Promise<Ran> {
    return mcphub([...args, '--data-dir', hub.dataDir]);
  }

  test('keys: create shows the key once, list never, rotate keeps the session, revoke ends it', async () => {
    const made = await on('keys', 'create', '--user', 'mina', '--name', 'laptop', '--group', 'small');
    assert.equal(made.code, 0, made.stderr);
    const secret = made.stdout.trim();
    assert.match(secret, SECRET);
    assert.match(made.stderr, /mina/);
    await until(async () => (await rpc(mcp, 'ping', {}, { key: secret })).status === 200, 5000, 'the key works');
    const tools = await rpc(mcp, 'tools/list', {}, { key: secret });
    assert.equal(tools.json.result.tools.length, 2);

    const listed = await on('keys', 'list');
    assert.equal(listed.code, 0);
    assert.match(listed.stdout, /mina\s+laptop\s+member\s+small/);
    assert.equal(listed.stdout.includes(secret), false);
    const rows = jsonOf(await on('keys', 'list', '--json')).keys;
    const row = rows.find(({ user }: { user: string }) => user === 'mina');
    assert.equal(JSON.stringify(rows).includes(secret), false);

    const session = await openSession(mcp, secret);
    const rotated = jsonOf(await on('keys', 'rotate', row.id, '--json'));
    assert.match(rotated.secret, SECRET);
    assert.notEqual(rotated.secret, secret);
    await until(
      async () => (await rpc(mcp, 'ping', {}, { key: rotated.secret, session })).status === 200,
      5000,
      'the new key in the old session',
    );
    const revoked = await on('keys', 'revoke', rotated.key.id);
    assert.equal(revoked.code, 0, revoked.stderr);
    assert.match(revoked.stdout, /mina.+laptop.+revoked/);
    await until(async () => (await rpc(mcp, 'ping', {}, { key: rotated.secret })).status === 401, 2020, 'the refusal');
    assert.match((await on('keys', 'list')).stdout, /mina.+revoked/);
    assert.equal(hub.log.includes(secret), false);
  });

  test('keys: an id that fits nothing exits 3, a group that is not there is named', async () => {
    const gone = await on('keys', 'revoke', 'nothing');
    assert.equal(gone.code, 3, gone.stderr);
    assertClean(gone);
    const group = await on('keys', 'create', '--user', 'a', '--name', 'b', '--group', 'nobody');
    assert.notEqual(group.code, 0);
    assert.match(group.stderr, /nobody/);
    assertClean(group);
  });

  test('servers: list, logs and restart', async () => {
    const listed = await on('servers', 'list');
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, /^fault\s+ready\s.*stdio\s+11\s/m);
    const { servers } = jsonOf(await on('servers', 'list', '--json'));
    assert.deepEqual(servers.map(({ name }: { name: string }) => name).sort(), ['fault', 'loud']);
    const logs = await on('servers', 'logs', 'loud');
    assert.equal(logs.code, 0, logs.stderr);
    assert.match(logs.stdout, /^e{20}/m);
    assert.ok(jsonOf(await on('servers', 'logs', 'loud', '--json')).hubs[0].lines.length > 0);
    const quiet = await on('servers', 'logs', 'fault');
    assert.match(quiet.stderr, /fault has no stderr output/);

    const pid = async () => (await callTool(mcp, 'fault_pid', {}, { key: hub.key })).json?.result?.content[0].text;
    const before = await pid();
    const restarted = await on('servers', 'restart', 'fault', '--timeout', '20');
    assert.equal(restarted.code, 0, restarted.stderr);
    assert.match(restarted.stdout, /fault is ready/);
    const now = await pid();
    assert.ok(now);
    assert.notEqual(now, before);
    const nobody = await on('servers', 'restart', 'nobody');
    assert.equal(nobody.code, 3, nobody.stderr);
    assertClean(nobody);
    assert.equal((await on('servers', 'logs', 'nobody')).code, 3);
  });

  test('tools: list, of a group too, and call with arguments of each kind', async () => {
    const listed = await on('tools', 'list');
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, /^fault_echo\s+fault tool echo/m);
    assert.match(listed.stderr, /22 tools/);
    assert.equal(jsonOf(await on('tools', 'list', 'small', '--json')).tools.length, 2);
    assert.equal((await on('tools', 'list', 'nobody')).code, 3);
    const echo = await on('tools', 'call', 'fault_echo', 'text=hello world');
    assert.equal(echo.code, 0, echo.stderr);
    assert.equal(echo.stdout, 'hello world\n');
    assert.equal((await on('tools', 'call', 'fault_add', 'a=2', 'b=40')).stdout, '42\n');
    const json = jsonOf(await on('tools', 'call', 'fault_add', '--args-json', '{"a":1,"b":2}', '--json'));
    assert.equal(json.content[0].text, '3');
  });

  test('tools: an unknown tool exits 3, a dead server 1', async () => {
    const unknown = await on('tools', 'call', 'nobody_nothing');
    assert.equal(unknown.code, 3, unknown.stderr);
    assert.match(unknown.stderr, /Unknown tool/);
    assertClean(unknown);
    const crashed = await on('tools', 'call', 'loud_crash');
    assert.equal(crashed.code, 1, crashed.stderr);
    assert.match(crashed.stderr, /loud/);
    assertClean(crashed);
  });

  test('status shows the hub, its processes and servers', async () => {
    const said = await on('status');
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /^mcphub \d+\.\d+\.\d+, up /);
    assert.ok(said.stdout.includes(`port ${hub.port}`));
    assert.match(said.stdout, /worker 1: connected, pid \d+/);
    assert.match(said.stdout, /^fault\s+ready/m);
    const answer = jsonOf(await on('status', '--json'));
    assert.equal(answer.port, hub.port);
    assert.equal(answer.hubs[0].connected, true);
  });

  test('waits shows a call that is stuck, with control running and with control stopped', async () => {
    const stuck = callTool(mcp, 'fault_sleep', { ms: 25_000 }, { key: hub.key, timeoutMs: 60_000 }).catch(
      () => undefined,
    );
    await until(async () => (await on('waits')).stdout.includes('upstream-call'), 10_000, 'the call among the waits');
    const answer = jsonOf(await on('waits', '--json'));
    const processes = answer.processes.map((one: { process: string }) => one.process);
    assert.deepEqual(processes.sort(), ['control', 'hub-1']);

    const control = hub.processes().control?.[0] ?? -1;
    assert.ok(control > 0);
    tryKill(control, 'SIGSTOP');
    try {
      const said = await on('waits', '--timeout', '2');
      assert.equal(said.code, 0, said.stderr);
      assert.match(said.stderr, /the control process does not respond; querying the workers directly/);
      assert.match(said.stdout, /hub-1\s+upstream-call/);
      assertClean(said);
    } finally {
      tryKill(control, 'SIGCONT');
    }
    await stuck;
  });

  test('reload takes a new file, and a broken one leaves what was', async () => {
    const servers = { fault: faultServer('normal') };
    writeFileSync(hub.configFile, JSON.stringify({ mcpServers: servers, groups: {} }));
    const said = await on('reload');
    assert.equal(said.code, 0, said.stderr);
    assert.match(said.stdout, /1 servers? \(0 added, 1 removed, 0 changed\)/);
    writeFileSync(hub.configFile, '{ "mcpServers": { "fault": { "command": 5 } } }');
    const refused = await on('reload');
    assert.equal(refused.code, 78, refused.stderr);
    assert.match(refused.stderr, /stays in effect/);
    assertClean(refused);
    const echo = await callTool(mcp, 'fault_echo', { text: 'still' }, { key: hub.key });
    assert.equal(echo.json.result.content[0].text, 'still');
  });
});

describe('a tool’s own error', { timeout: 60_000 }, () => {
  test('is exit code 6, with the tool’s words on stdout', async () => {
    const everything = {
      command: 'node',
      args: [`${ROOT}/node_modules/@modelcontextprotocol/server-everything/dist/index.js`, 'stdio'],
    };
    await using hub = await startHub({ config: { mcpServers: { everything } } });
    await until(
      async () => (await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key })).json.result.tools.length > 5,
      30_000,
      'the tools',
    );
    const ran = await mcphub(['tools', 'call', 'everything_get_sum', 'a=two', '--data-dir', hub.dataDir]);
    assert.equal(ran.code, 6, ran.stderr);
    assert.ok(ran.stdout.length > 5);
    assert.match(ran.stderr, /returned an error/);
    assertClean(ran);
  });
});

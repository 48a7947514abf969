/** The meaning of valid files, rule by rule. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from './limits.ts';
import { type Config, type Loaded, parseConfig } from './parse.ts';
import type { ServerConfig } from './servers.ts';

const FILE = '/etc/hub/mcp_settings.json';

function load(value: object, env: Record<string, string> = {}, flags: Record<string, number> = {}): Loaded {
  return parseConfig(JSON.stringify({ mcpServers: {}, ...value }), FILE, env, flags);
}

function good(value: object, env: Record<string, string> = {}, flags: Record<string, number> = {}): Config {
  const loaded = load(value, env, flags);
  assert.deepEqual(
    loaded.problems.filter(({ severity }) => severity === 'error'),
    [],
  );
  assert.ok(loaded.config);
  return loaded.config;
}

function server(raw: object, env: Record<string, string> = {}): ServerConfig {
  const [only] = good({ mcpServers: { a: raw } }, env).servers;
  assert.ok(only);
  return only;
}

function warnings(value: object, env: Record<string, string> = {}): string[] {
  return load(value, env).problems.map(({ severity, path, message }) => `${severity} ${path} ${message}`);
}

test('a stdio server is read with variables put in and directories made whole', () => {
  const { transport, enabled, interactive } = server(
    { command: '${RUN:-node}', args: ['-e', '${CODE}', 7], env: { T: 'x${env:CODE}', N: 5, B: true }, cwd: '../work' },
    { CODE: '1+1' },
  );
  assert.deepEqual(transport, {
    kind: 'stdio',
    command: 'node',
    args: ['-e', '1+1', '7'],
    env: { T: 'x1+1', N: '5', B: 'true' },
    cwd: '/etc/work',
  });
  assert.equal(enabled, true);
  assert.equal(interactive, false);
});

test('without a directory a program runs in that of the file, and an absolute one stays', () => {
  const cwdOf = (raw: object): unknown => {
    const { transport } = server(raw);
    return transport.kind === 'stdio' ? transport.cwd : assert.fail();
  };
  assert.equal(cwdOf({ command: 'node' }), '/etc/hub');
  assert.equal(cwdOf({ command: 'node', cwd: '/srv' }), '/srv');
});

test('every alias of a type leads to its transport', () => {
  const kindOf = (raw: object): string => server(raw).transport.kind;
  for (const type of ['http', 'streamable-http', 'streamableHttp', 'streamable_http', 'remote', undefined]) {
    assert.equal(kindOf({ type, url: 'http://x/mcp' }), 'http', type);
  }
  for (const type of ['stdio', 'local', undefined]) assert.equal(kindOf({ type, command: 'node' }), 'stdio', type);
  assert.equal(kindOf({ type: 'sse', url: 'http://x/any' }), 'sse');
  assert.equal(kindOf({ url: 'http://x/sse?k=1' }), 'sse');
  assert.equal(kindOf({ type: 'http', url: 'http://x/sse' }), 'http');
  assert.equal(server({ url: '${U}' }, { U: 'http://x/sse' }).transport.kind, 'sse');
  const isUntyped = (raw: object): boolean => Object.hasOwn(server(raw).transport, 'untyped');
  assert.equal(isUntyped({ url: 'http://x/mcp' }), true, 'nobody has said what it is');
  assert.equal(isUntyped({ type: 'remote', url: 'http://x/mcp' }), true);
  assert.equal(isUntyped({ type: 'streamable-http', url: 'http://x/mcp' }), false);
});

test('headers take variables; those the hub sets itself are left out with a warning', () => {
  const raw = { url: 'https://x/mcp', headers: { Authorization: 'Bearer ${T}', 'content-type': 'application/json' } };
  assert.deepEqual(server(raw, { T: 'sesame' }).transport, {
    kind: 'http',
    url: 'https://x/mcp',
    headers: { Authorization: 'Bearer sesame' },
    launch: undefined,
    untyped: true,
  });
  assert.deepEqual(warnings({ mcpServers: { a: raw } }, { T: 'sesame' }), [
    'warning mcpServers.a.headers.content-type is left out: the hub sets it itself',
  ]);
});

test('PORT stays in a launched server and is an ordinary variable elsewhere', () => {
  const launch = { command: 'node', args: ['--port=${PORT}'], env: { PORT: '${PORT:-1}' } };
  assert.deepEqual(server({ url: 'http://127.0.0.1:${PORT}/mcp', launch }, { PORT: '3000' }).transport, {
    kind: 'http',
    url: 'http://127.0.0.1:${PORT}/mcp',
    headers: {},
    launch: { command: 'node', args: ['--port=${PORT}'], env: { PORT: '${PORT}' }, cwd: '/etc/hub' },
  });
  const { transport } = server({ url: 'http://127.0.0.1:${PORT}/mcp' }, { PORT: '8080' });
  assert.equal(transport.kind === 'http' && transport.url, 'http://127.0.0.1:8080/mcp');
});

test('enabled and disabled say the same thing in two ways', () => {
  assert.equal(server({ command: 'x', enabled: false }).enabled, false);
  assert.equal(server({ command: 'x', disabled: true }).enabled, false);
  assert.equal(server({ command: 'x', disabled: false }).enabled, true);
});

test('a server that is switched off may miss its variables', () => {
  const raw = { url: '${NO_URL}', headers: { A: '${NO_KEY}' }, enabled: false };
  assert.equal(server(raw).enabled, false);
  assert.equal(warnings({ mcpServers: { a: raw } }).length, 2);
});

test('times of servers and tools are read in any unit, and stay undefined when not given', () => {
  const read = server({
    command: 'x',
    silenceMs: '20s',
    totalMs: 60_000,
    inFlight: 3,
    startMs: '2m',
    tools: { slow: { callTimeoutMs: '1m' }, off: { enabled: false } },
  });
  assert.deepEqual(read.times, { silenceMs: 20_000, totalMs: 60_000, callTimeoutMs: undefined });
  assert.deepEqual([read.inFlight, read.startMs, read.installMs], [3, 120_000, undefined]);
  const nothing = { silenceMs: undefined, totalMs: undefined };
  assert.deepEqual(read.tools, {
    slow: { enabled: true, ...nothing, callTimeoutMs: 60_000 },
    off: { enabled: false, ...nothing, callTimeoutMs: undefined },
  });
});

test('names are free in their letters', () => {
  const names = ['깃허브', 'my server', '@scope/pkg', 'constructor', 'a.b'];
  const config = good({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: 'x' }])) });
  assert.deepEqual(
    config.servers.map(({ name }) => name),
    names,
  );
});

test('what the original has and we do not is a warning, and the rest works', () => {
  const value = {
    users: [{ username: 'admin', password: 'sesame' }],
    systemConfig: { routing: {} },
    mcpServers: {
      a: { command: 'x', owner: 'admin', options: { timeout: 90_000, maxTotalTimeout: 5 }, keepAliveInterval: 60_000 },
      api: { type: 'openapi', openapi: { url: 'http://x' } },
    },
    groups: [
      { id: '1', name: 'g', description: '', servers: ['a', 'api'] },
      {
        id: '2',
        name: 'h',
        servers: [
          { name: 'a', tools: ['t'] },
          { name: 'api', tools: 'all' },
        ],
      },
    ],
  };
  const config = good(value);
  assert.deepEqual(
    config.servers.map(({ name }) => name),
    ['a'],
  );
  assert.deepEqual(config.servers[0]?.times, {
    silenceMs: 90_000,
    totalMs: LIMITS.totalMs.min,
    callTimeoutMs: undefined,
  });
  assert.deepEqual(config.groups, [
    { name: 'g', access: 'key', servers: ['a'], tools: {} },
    { name: 'h', access: 'key', servers: ['a'], tools: { a: ['t'] } },
  ]);
  const paths = load(value).problems.map(({ severity, path }) => `${severity} ${path}`);
  for (const path of [
    'users',
    'systemConfig',
    'groups',
    'mcpServers.a.owner',
    'mcpServers.a.options',
    'mcpServers.api.type',
  ]) {
    assert.ok(paths.includes(`warning ${path}`), path);
  }
  assert.ok(!JSON.stringify(load(value).problems).includes('sesame'));
});

test('groups name servers, a choice of their tools, and who may enter', () => {
  const config = good({
    mcpServers: { a: { command: 'x' }, b: { command: 'x' } },
    groups: { all: { servers: '*', access: 'anonymous' }, some: { servers: ['b', 'b'], tools: { b: ['t'] } } },
  });
  assert.deepEqual(config.groups, [
    { name: 'all', access: 'anonymous', servers: '*', tools: {} },
    { name: 'some', access: 'key', servers: ['b'], tools: { b: ['t'] } },
  ]);
});

test('a group still reads when one of its servers is faulty, so that only the fault is named', () => {
  const loaded = load({ mcpServers: { a: { command: 5 } }, groups: { g: { servers: ['a'] } } });
  assert.deepEqual(
    loaded.problems.map(({ path }) => path),
    ['mcpServers.a.command'],
  );
});

test('a flag wins over the environment, the environment over the file, the file over the default', () => {
  const file = { limits: { silenceMs: '7s', calls: 10, batch: 7, bodyBytes: '1MiB' } };
  const env = { MCPHUB_SILENCE_MS: '8s', MCPHUB_CALLS: ' 20 ', MCPHUB_BATCH: '' };
  const { limits, limitOverrides } = good(file, env, { silenceMs: 9000 });
  assert.equal(limits.silenceMs, 9000);
  assert.equal(limits.calls, 20);
  assert.equal(limits.batch, 7);
  assert.equal(limits.totalMs, LIMITS.totalMs.default);
  assert.deepEqual(limitOverrides, { silenceMs: 9000, calls: 20, batch: 7, bodyBytes: 2 ** 20 });
});

test('a bad value is an error wherever it comes from, also when another source wins', () => {
  const loaded = load({ limits: { calls: 0 } }, { MCPHUB_CALLS: 'many', PORT: '70000' }, { calls: Number.NaN });
  assert.equal(loaded.config, undefined);
  const places = loaded.problems.map(({ file, path, message }) => `${file} ${path} ${message}`);
  assert.deepEqual(places.toSorted(), [
    `${FILE} limits.calls is 0`,
    'command line calls is null',
    'environment MCPHUB_CALLS is "many"',
    'environment PORT is "70000"',
  ]);
});

test('limits that depend on each other are held against each other across sources', () => {
  const loaded = load({ limits: { drainMs: '20s' } }, { MCPHUB_STOP_MS: '15s' });
  assert.deepEqual(
    loaded.problems.map(({ path, expected }) => [path, expected]),
    [['limits.drainMs', 'less than stopMs, which is 15 s']],
  );
  assert.equal(load({}, { MCPHUB_KILL_MS: '1s' }).problems[0]?.path, 'MCPHUB_KILL_MS');
  assert.ok(load({ limits: { breakerOpenMs: '5s', breakerCapMs: '5s' } }).config);
});

test('more servers than the limit are refused', () => {
  const mcpServers = { a: { command: 'x' }, b: { command: 'x' } };
  assert.equal(load({ mcpServers, limits: { servers: 1 } }).problems[0]?.message, 'there are 2 servers');
  assert.ok(load({ mcpServers, limits: { servers: 2 } }).config);
});

test('hosts and origins come out as requests have them, and the environment wins', () => {
  const file = {
    settings: { allowedHosts: ['Hub.Example.com:3000', '[::2]:80', '*'], allowedOrigins: ['https://A.example/'] },
  };
  assert.deepEqual(good(file).settings, {
    allowedHosts: ['hub.example.com', '::2', '*'],
    allowedOrigins: ['https://a.example'],
    trustedProxies: [],
    legacySse: true,
    keyInQuery: false,
  });
  const switched = { mcpServers: {}, settings: { legacySse: false, keyInQuery: true } };
  assert.equal(good(switched).settings.legacySse, false);
  assert.equal(good(switched).settings.keyInQuery, true);
  assert.equal(good(switched, { MCPHUB_KEY_IN_QUERY: '0' }).settings.keyInQuery, false);
  const env = { MCPHUB_ALLOWED_HOSTS: 'one, two ,', MCPHUB_ALLOWED_ORIGINS: 'nonsense' };
  const loaded = load(file, env);
  assert.deepEqual(
    loaded.problems.map(({ file: from, path }) => `${from} ${path}`),
    ['environment MCPHUB_ALLOWED_ORIGINS'],
  );
  assert.deepEqual(good(file, { MCPHUB_ALLOWED_HOSTS: 'one, two ,' }).settings.allowedHosts, ['one', 'two']);
});

test('trusted proxies are addresses and networks', () => {
  const file = { settings: { trustedProxies: ['10.0.0.5', 'FD00::/8'] } };
  assert.deepEqual(good(file).settings.trustedProxies, ['10.0.0.5', 'fd00::/8']);
  assert.deepEqual(good(file, { MCPHUB_TRUSTED_PROXIES: '192.168.0.0/16' }).settings.trustedProxies, [
    '192.168.0.0/16',
  ]);
  for (const bad of ['*', 'proxy.example', '10.0.0.0/33', '0.0.0.0/0', '10.0.0.5:80', '10.0.0.0/8/8', '10.0.0.0/'])
    assert.equal(load({ settings: { trustedProxies: [bad] } }).problems[0]?.path, 'settings.trustedProxies[0]', bad);
});

test('what looks like a slip but may be meant is a warning', () => {
  assert.deepEqual(warnings({ mcpServers: { a: { command: 'npx -y thing' } } }), [
    'warning mcpServers.a.command looks like a whole command line',
  ]);
  assert.deepEqual(warnings({ mcpServers: { a: { command: 'x', env: { T: '$TOKEN' } } } }), [
    'warning mcpServers.a.env.T is taken as it is written',
  ]);
  assert.deepEqual(warnings({ mcpServers: { a: { url: 'http://localhost:3000/mcp/dev' } } }), [
    'warning mcpServers.a.url is the address of this hub itself',
  ]);
  assert.deepEqual(warnings({}, { MCPHUB_SILENSE_MS: '1s', MCPHUB_SERVICE_PORT: '3000', OTHER: '' }), [
    'warning MCPHUB_SILENSE_MS no such variable; did you mean MCPHUB_SILENCE_MS?',
  ]);
  assert.deepEqual(warnings({}, { HOST: '0.0.0.0' }), [
    'warning HOST is "0.0.0.0": the hub listens beyond this machine without TLS, and keys travel unencrypted',
  ]);
  assert.deepEqual(warnings({ mcpServers: { a: { command: 'x' } }, groups: { a: { servers: '*' } } }), [
    'warning groups.a a server has the same name; /mcp/a is the group',
  ]);
});

test('a configuration is frozen to its leaves', () => {
  const config = good({ mcpServers: { a: { command: 'x', env: { A: '1' } } } });
  const { transport } = config.servers[0] as ServerConfig;
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.limits) && Object.isFrozen(config.servers));
  assert.ok(transport.kind === 'stdio' && Object.isFrozen(transport.env));
});

test('a file of tens of thousands of faults is refused in a straight line, errors before warnings', () => {
  const many = Object.fromEntries(
    Array.from({ length: 20_000 }, (_, at) => [`s${at}`, { command: 'x', owner: 1, comand: 1 }]),
  );
  const started = performance.now();
  const loaded = load({ mcpServers: many });
  assert.ok(performance.now() - started < 8000);
  assert.equal(loaded.config, undefined);
  assert.equal(loaded.problems.filter(({ severity }) => severity === 'error').length, 200);
  assert.match(loaded.problems.at(-1)?.message ?? '', /^and \d+ more problems$/);
});

// case: SV34
test('a container that may outlive its server is named, with what is missing, and its arguments stay as they are', () => {
  const of = (args: readonly string[], command = 'docker') => ({ mcpServers: { a: { command, args } } });
  const args = ['run', '-i', 'image'];
  const [warning, ...others] = load(of(args)).problems;
  assert.deepEqual(others, []);
  assert.equal(warning?.path, 'mcpServers.a.args');
  assert.equal(warning?.message, 'start a container that may stay when the server is stopped or started again');
  assert.equal(warning?.expected, '--rm and --init after run');
  const { transport } = server({ command: 'docker', args });
  assert.ok(transport.kind === 'stdio');
  assert.deepEqual(transport.args, args);
  assert.equal(warnings(of(['run', '--rm', '-i', 'image'], '/usr/bin/podman')).length, 1);
  assert.deepEqual(warnings(of(['run', '--rm', '--init', '-i', 'image'])), []);
  assert.deepEqual(warnings(of(['exec', '-i', 'name', 'server'])), []);
  assert.deepEqual(warnings(of(['run'], 'uv')), []);
  assert.deepEqual(warnings(of(['compose', 'run', '--rm', 'service'])), []);
  for (const labels of [['--label', 'mcphub.mark=x'], ['--label=mcphub.mark=x'], ['-l', 'mcphub.server=x']]) {
    const [label, ...more] = load(of(['run', '--rm', '--init', ...labels, 'image'])).problems;
    assert.deepEqual([label?.severity, more], ['warning', []], labels.join(' '));
    assert.match(label?.message ?? '', /^sets a label by which the hub finds containers/);
  }
  assert.deepEqual(warnings(of(['run', '--rm', '--init', '-l', 'team=mcphub.mark', 'image'])), []);
  const [shell] = load(of(['-c', 'exec docker run --rm --init -i image'], 'sh')).problems;
  assert.equal(shell?.expected, 'docker, podman or nerdctl as the command itself');
});

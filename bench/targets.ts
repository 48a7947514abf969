/**
 * What the bench starts: the C server, nginx in front of it, and the hub in front of it; each pinned to its core, each
 * stopped by pid.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { cleanEnv, delay, freePort, statusOf, until } from '../test/support/hub.ts';

export const ROOT = resolve(import.meta.dirname, '..');
/** The hub (or nginx) has one core, generator and upstream the other. */
const TARGET_CORE = '0';
const OTHER_CORE = '1';

export interface Tools {
  readonly dir: string;
  readonly load: string;
  readonly upstream: string;
  readonly nginx: string | undefined;
  /** The hub's command, compiled as it is published. */
  readonly cli: string;
}

export interface Target {
  readonly name: 'direct' | 'nginx' | 'hub';
  readonly port: number;
  readonly path: string;
  readonly key: string;
  /** Exposed name of a tool. */
  tool(native: string): string;
  pids(): number[];
  stop(): Promise<void>;
}

export function makeTools(): Tools {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-bench-'));
  const compile = (name: string) => {
    const out = join(dir, name);
    execFileSync('cc', ['-O2', '-o', out, join(ROOT, 'bench/native', `${name}.c`)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    return out;
  };
  const nginx = ['/usr/sbin/nginx', '/usr/local/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));
  return { dir, load: compile('load'), upstream: compile('upstream'), nginx, cli: buildHub(dir) };
}

/** The published form: plain JavaScript beside package.json and the dependencies. */
function buildHub(dir: string): string {
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  execFileSync(tsc, ['-p', join(ROOT, 'tsconfig.build.json'), '--outDir', join(dir, 'hub/dist')], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  cpSync(join(ROOT, 'bin'), join(dir, 'hub/bin'), { recursive: true });
  copyFileSync(join(ROOT, 'package.json'), join(dir, 'hub/package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'hub/node_modules'));
  return join(dir, 'hub/bin/mcphub.js');
}

export function pinned(core: string, command: string, args: readonly string[]): [string, string[]] {
  return existsSync('/usr/bin/taskset') ? ['/usr/bin/taskset', ['-c', core, command, ...args]] : [command, [...args]];
}

export async function startUpstream(tools: Tools, port: number, toolCount = 54): Promise<ChildProcess> {
  const [command, args] = pinned(OTHER_CORE, tools.upstream, [String(port), String(toolCount)]);
  const child = spawn(command, args, { stdio: 'ignore' });
  await until(async () => (await statusOf(`http://127.0.0.1:${port}/mcp`)) === 405, 5000, 'the bench server');
  return child;
}

export async function stopChild(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  child.kill(signal);
  await Promise.race([gone, delay(8000).then(() => child.kill('SIGKILL'))]);
}

export async function startDirect(tools: Tools): Promise<Target> {
  const port = await freePort();
  const child = await startUpstream(tools, port);
  return {
    name: 'direct',
    port,
    path: '/mcp',
    key: '',
    tool: (native) => native,
    pids: () => [child.pid ?? -1],
    stop: () => stopChild(child),
  };
}

export async function startNginx(tools: Tools): Promise<Target | undefined> {
  if (!tools.nginx) return undefined;
  const [port, upstreamPort] = [await freePort(), await freePort()];
  const upstream = await startUpstream(tools, upstreamPort);
  const dir = join(tools.dir, `nginx-${port}`);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'nginx.conf'), nginxConfig(port, upstreamPort, dir));
  const [command, args] = pinned(TARGET_CORE, tools.nginx, [
    '-p',
    dir,
    '-c',
    join(dir, 'nginx.conf'),
    '-g',
    'daemon off;',
  ]);
  const child = spawn(command, args, { stdio: 'ignore' });
  await until(async () => (await statusOf(`http://127.0.0.1:${port}/mcp`)) === 405, 5000, 'nginx');
  return {
    name: 'nginx',
    port,
    path: '/mcp',
    key: '',
    tool: (native) => native,
    pids: () => [child.pid ?? -1, ...descendantsOf(child.pid ?? -1)],
    async stop() {
      await stopChild(child, 'SIGTERM');
      await stopChild(upstream);
    },
  };
}

function nginxConfig(port: number, upstreamPort: number, dir: string): string {
  return `worker_processes 1; pid ${dir}/pid; error_log ${dir}/error.log; user root;
events { worker_connections 20000; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 75s; client_body_temp_path ${dir}; proxy_temp_path ${dir}; fastcgi_temp_path ${dir}; uwsgi_temp_path ${dir}; scgi_temp_path ${dir};
  upstream mcp { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port} backlog=4096; location / { proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering on; } }
}
`;
}

export interface BenchHub extends Target {
  readonly dataDir: string;
  readonly child: ChildProcess;
}

export interface BenchHubOptions {
  readonly servers: Record<string, unknown>;
  readonly env?: Record<string, string>;
  readonly dataDir?: string;
  readonly toolPrefix?: string;
  readonly key?: string;
}

/** The hub as shipped: supervisor, control process and one worker, all on the target's core. */
export async function startBenchHub(tools: Tools, options: BenchHubOptions): Promise<BenchHub> {
  const port = await freePort();
  const dataDir = options.dataDir ?? mkdtempSync(join(tools.dir, 'data-'));
  const key = options.key ?? `mcphub_${randomBytes(32).toString('hex')}`;
  const config = join(dataDir, 'mcp_settings.json');
  writeFileSync(config, JSON.stringify({ mcpServers: options.servers }));
  const [command, args] = pinned(TARGET_CORE, process.execPath, [
    tools.cli,
    'start',
    '--config',
    config,
    '--data-dir',
    dataDir,
    '--port',
    String(port),
  ]);
  const child = spawn(command, args, {
    stdio: 'ignore',
    cwd: ROOT,
    env: { ...cleanEnv(), MCPHUB_BOOTSTRAP_KEY: key, ...options.env },
  });
  await until(async () => (await statusOf(`http://127.0.0.1:${port}/health`)) === 200, 20_000, 'the hub');
  return {
    name: 'hub',
    port,
    path: '/mcp',
    key,
    dataDir,
    child,
    tool: (native) => `${options.toolPrefix ?? 'bench'}_${native}`,
    pids: () => [child.pid ?? -1, ...descendantsOf(child.pid ?? -1)],
    stop: () => stopChild(child),
  };
}

/**
 * 5,000 sessions of one key, all calling at once, are beyond the defaults on purpose; these are raised for the
 * comparison and printed.
 */
export const RAISED: Readonly<Record<string, string>> = {
  MCPHUB_CALLS: '16384',
  MCPHUB_KEY_IN_FLIGHT: '16384',
  MCPHUB_SERVER_QUEUE: '16384',
  MCPHUB_SERVER_QUEUE_MS: '10000',
  // 5,000 callers at once wait longer than a second; the generator reads plain JSON.
  MCPHUB_STREAM_AFTER_MS: '60000',
};

export async function startHubTarget(tools: Tools): Promise<Target> {
  const upstreamPort = await freePort();
  const upstream = await startUpstream(tools, upstreamPort);
  const hub = await startBenchHub(tools, {
    servers: { bench: { type: 'streamable-http', url: `http://127.0.0.1:${upstreamPort}/mcp` } },
    env: RAISED,
  });
  await untilToolsListed(hub, 54);
  return {
    ...hub,
    async stop() {
      await hub.stop();
      await stopChild(upstream);
    },
  };
}

export async function untilToolsListed(hub: Target, count: number): Promise<void> {
  await until(async () => (await toolCount(hub)) >= count, 20_000, `${count} tools in the list`);
}

export async function toolCount(hub: Target): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${hub.port}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${hub.key}` },
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    signal: AbortSignal.timeout(5000),
  });
  const body = (await answer.json()) as { result?: { tools?: unknown[] } };
  return body.result?.tools?.length ?? 0;
}

export function descendantsOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It ended while we looked.
    }
  }
  const found: number[] = [];
  const visit = (parent: number) => {
    for (const [child, of] of parents) {
      if (of !== parent) continue;
      found.push(child);
      visit(child);
    }
  };
  visit(pid);
  return found;
}

/** CPU time used so far by these processes, in seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It ended.
    }
  }
  return ticks / 100;
}

/** Resident memory in MB, of each pid. */
export function rssMb(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) / 1024;
}

/** CPU seconds of the whole machine spent outside these pids and outside idle, since a reading. */
export function machineCpuSeconds(): number {
  const [, user, nice, system, , , irq, softirq] = (/^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[0] ?? '')
    .split(/ +/)
    .map(Number);
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0)) / 100;
}

export function cleanUp(tools: Tools): void {
  rmSync(tools.dir, { recursive: true, force: true });
}

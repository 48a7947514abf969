/**
 * A separate hub with a copy of a configuration: temporary data directory, free port, own key, fault hooks enabled. The
 * user's running hub, its data directory and its file are not touched.
 * Guarantees: `close` ends the supervisor (asked first, then killed by its pid) and all processes with the sandbox's
 * mark, and removes the directory; it can be called twice; when this process exits unexpectedly, the supervisor is
 * asked to stop.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { StatusAnswer, WaitAnswer } from '../admin/contract.ts';
import { runDirFor } from '../config/paths.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { type Asked, askControl, askHub, bodyOf, type HubAddress } from '../operator/hub-request.ts';
import { isAlive } from '../runtime/process-stat.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { livingMarked, sweepMarked } from '../runtime/sweep.ts';
import { hasTool, type Target } from './_load.ts';

const ASK_MS = 3000;
const START_MS = 30_000;
/** Servers that take longer than this (ms) continue starting during the first fault. */
const SERVERS_MS = 10_000;
const TOOL_MS = 10_000;
const IDLE_MS = 15_000;
const STOP_MS = 8000;
const LOOK_MS = 50;
const LOG_CHARS = 16_384;
const ECHO = 'chaosecho';
/** Variables of the user's own hub that the sandbox must not inherit. */
const NOT_INHERITED =
  /^(MCPHUB_(BOOTSTRAP_KEY|SECRET)(_FILE)?|MCPHUB_(CONFIG|SETTING_PATH|DATA_DIR|RUN_DIR|PROCESS|SLOT|FLAGS|MARK|HEIR|WORKERS|HUBS|PORT)|PORT|HOST|NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID|NODE_CHANNEL_FD|NODE_OPTIONS|NODE_TEST_CONTEXT)$/;

export type Servers = Readonly<Record<string, object>>;

export interface SandboxOptions {
  readonly runtime: Runtime;
  /** The copy, including its `mcpServers`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** A healthy server that is added. */
  readonly echo: object;
  readonly signal: AbortSignal;
}

export class Sandbox implements AsyncDisposable {
  readonly #options: SandboxOptions;
  readonly #dir: string;
  readonly #markRoot: string;
  readonly #address: HubAddress;
  readonly #supervisor: ChildProcess;
  readonly #asExit: () => void;
  readonly target: Target;
  #output = '';
  #isClosed = false;
  /** Number of processes while the sandbox is idle. */
  #atRest = 0;

  static async open(options: SandboxOptions): Promise<Sandbox> {
    const dir = await realpath(await mkdtemp(join(tmpdir(), 'mcphub-chaos-')));
    const sandbox = new Sandbox(options, dir, await freePort());
    try {
      await sandbox.#start();
    } catch (fault) {
      await sandbox.close();
      throw fault;
    }
    return sandbox;
  }

  private constructor(options: SandboxOptions, dir: string, port: number) {
    const key = `mcphub_${randomBytes(32).toString('hex')}`;
    this.#options = options;
    this.#dir = dir;
    this.#markRoot = `${createHash('sha256').update(dir).digest('hex').slice(0, 12)}.`;
    this.#address = { dataDir: dir, runDir: runDirFor(dir) };
    this.target = { port, key, echo: `${ECHO}_work` };
    const inherited = Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name));
    const flags = ['--config', this.#configFile, '--data-dir', dir, '--port', String(port), '--host', '127.0.0.1'];
    this.#supervisor = spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', 'start', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...Object.fromEntries(inherited),
        MCPHUB_BOOTSTRAP_KEY: key,
        MCPHUB_FAULT_HOOKS: '1',
        NODE_ENV: 'test',
      },
    });
    this.#supervisor.on('error', () => {});
    for (const stream of [this.#supervisor.stdout, this.#supervisor.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-LOG_CHARS);
      });
    }
    this.#asExit = () => void this.#supervisor.kill('SIGTERM');
    process.once('exit', this.#asExit);
  }

  get dir(): string {
    return this.#dir;
  }

  get #configFile(): string {
    return join(this.#dir, 'mcp_settings.json');
  }

  /** Uses the servers of the copy, the healthy one, and `more`; waits until `tool` (an exposed name) can be called. */
  async use(more: Servers, tool: string | undefined): Promise<void> {
    await this.#write(more);
    bodyOf(await this.#ask('/api/config/reload', 'POST'));
    if (tool !== undefined && !(await this.#until(() => this.#has(tool), TOOL_MS)))
      throw new CliFailure(
        EXIT.error,
        `The fault server of ${tool} did not become ready:\n${this.#output.slice(-2000)}`,
      );
  }

  /** Returns the pid of a server's process, which workers report from time to time. */
  pidOf(slug: string): Promise<number> {
    return this.#pid(
      `server ${slug}`,
      ({ servers }) => servers.find((one) => one.slug === slug)?.hubs.find(({ pid }) => pid !== undefined)?.pid,
    );
  }

  hubPid(): Promise<number> {
    return this.#pid('hub 1', ({ hubs }) => hubs.find(({ connected }) => connected)?.pid);
  }

  /** Stops or continues reading the hub's log. */
  read(does: boolean): void {
    for (const stream of [this.#supervisor.stdout, this.#supervisor.stderr]) {
      if (does) stream?.resume();
      else stream?.pause();
    }
  }

  /**
   * Returns the time in ms until no call runs, the number of processes is back to idle, and `/health` is fine;
   * undefined after 15 s.
   */
  async idleAfter(): Promise<number | undefined> {
    const bornMs = performance.now();
    const isIdle = await this.#until(() => this.#isIdle(), IDLE_MS);
    return isIdle ? Math.round(performance.now() - bornMs) : undefined;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    process.off('exit', this.#asExit);
    const { pid } = this.#supervisor;
    this.read(true);
    this.#supervisor.kill('SIGTERM');
    const isGone = (): Promise<boolean> => Promise.resolve(pid === undefined || !isAlive(pid));
    if (!(await this.#until(isGone, STOP_MS, true))) this.#supervisor.kill('SIGKILL');
    await sweepMarked(this.#markRoot);
    await rm(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(): Promise<void> {
    await this.#write({});
    const isUp = async (): Promise<boolean> => {
      if (this.#supervisor.exitCode !== null)
        throw new CliFailure(
          this.#supervisor.exitCode === EXIT.badConfig ? EXIT.badConfig : EXIT.error,
          `The sandbox did not start:\n${this.#output.slice(-4000)}`,
        );
      return this.#has(this.target.echo);
    };
    if (!(await this.#until(isUp, START_MS)))
      throw new CliFailure(
        EXIT.error,
        `The sandbox did not start within ${START_MS / 1000} s:\n${this.#output.slice(-4000)}`,
      );
    await this.#until(async () => (await this.#unready()) === 0, SERVERS_MS);
    this.#atRest = (await livingMarked(this.#markRoot)).length;
  }

  #has(tool: string): Promise<boolean> {
    return hasTool(this.#options.runtime, this.target, tool, this.#options.signal);
  }

  async #pid(whose: string, find: (status: StatusAnswer) => number | undefined): Promise<number> {
    let pid: number | undefined;
    const isKnown = async (): Promise<boolean> => {
      pid = find(bodyOf<StatusAnswer>(await this.#ask('/api/status')));
      return pid !== undefined;
    };
    await this.#until(isKnown, TOOL_MS);
    if (pid === undefined) throw new CliFailure(EXIT.error, `The process of ${whose} is not known.`);
    return pid;
  }

  async #unready(): Promise<number> {
    const { servers } = bodyOf<StatusAnswer>(await this.#ask('/api/status'));
    return servers.filter(({ state }) => !['ready', 'asleep', 'disabled'].includes(state)).length;
  }

  async #isIdle(): Promise<boolean> {
    const asked = await Promise.all(
      ['/health', '/api/health', '/api/waits'].map((path) => askHub(this.#address, 1, { path, timeoutMs: ASK_MS })),
    );
    const [health, detail, waits] = asked.map(({ body }) => body);
    const { calls = 0 } = (detail as { counts?: { calls?: number } }).counts ?? {};
    const open = (waits as { waits: WaitAnswer[] }).waits.filter(({ label }) => label.startsWith('upstream-call'));
    if ((health as { status?: string }).status === undefined || calls > 0 || open.length > 0) return false;
    return (await livingMarked(this.#markRoot)).length <= this.#atRest;
  }

  /**
   * Returns false when `check` did not hold within `limitMs`. A failed request counts as false; a `CliFailure` of the
   * check itself is thrown.
   */
  async #until(check: () => Promise<boolean>, limitMs: number, isLast = false): Promise<boolean> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      if (!isLast && this.#options.signal.aborted)
        throw new CliFailure(EXIT.interrupted, 'Interrupted; nothing of the sandbox is left.');
      try {
        if (await check()) return true;
      } catch (fault) {
        if (this.#supervisor.exitCode !== null) throw fault;
      }
      if (performance.now() > untilMs) return false;
      await pause(LOOK_MS);
    }
  }

  #ask(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Asked> {
    return askControl(this.#address, { path, method, timeoutMs: ASK_MS });
  }

  #write(more: Servers): Promise<void> {
    const { config, echo } = this.#options;
    const mcpServers = { ...(config.mcpServers as Servers | undefined), [ECHO]: echo, ...more };
    return writeFile(this.#configFile, JSON.stringify({ ...config, mcpServers }), { mode: 0o600 });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/**
 * The control process: reads and reports the configuration before it loads anything else, creates its modules
 * (`control-parts.ts`) when the supervisor has opened the port, and stops them in reverse.
 * Guarantees: an invalid configuration is reported completely and exits with 78; any other failure to start exits with
 * 1 (the supervisor retries, and workers keep serving their snapshots); exits within `STOP_MS` of the request, also
 * when a module hangs.
 */
import { homedir } from 'node:os';
import type { LimitFlags } from '../config/limit-values.ts';
import { namedLimit, withFormerNames } from '../config/limits.ts';
import { type Config, formatProblems, type Loaded, type LoadOptions, loadConfig } from '../config/load.ts';
import { HubError } from '../model/errors.ts';
import { DESCENDANT_MARK, PROCESS_ENV, type SupervisorMessage } from '../model/supervisor-messages.ts';
import type { Deadline } from '../runtime/deadline.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { type Service, stopAll } from '../runtime/service.ts';
import { saveCompileCacheOnce } from './compile-cache.ts';
import { EXIT_CONFIG } from './fatal-start.ts';
import { endAllOrphans } from './orphaned-processes.ts';
import { openSupervisorChannel, type SupervisorChannel } from './supervisor-channel.ts';

const START_MS = 30_000;
/** Time limit in ms for reading the file; a slower disk hangs. */
const READ_MS = 5000;
const STOP_MS = 5000;
const WAY_OUT = ['MCPHUB_CA_FILE', 'http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY'] as const;

type Env = Readonly<Record<string, string | undefined>>;
type Go = SupervisorMessage & { readonly t: 'go' };

/** Runs until it is told to end; then the process exits. */
export async function runControl(env: Env): Promise<void> {
  await new ControlProcess(env).run();
}

class ControlProcess {
  readonly #env: Env;
  readonly #runtime = createRuntime();
  readonly #running: Service[] = []; // bounded by: the services of control-parts.ts
  /** Stops last, because it reports on all others. */
  readonly #telemetry: Service[] = []; // bounded by: telemetry alone
  /** Settles when the port is open; with undefined when there is no supervisor. */
  readonly #go = Promise.withResolvers<Go | undefined>();
  readonly #supervisor: SupervisorChannel;
  #isEnding = false;
  /** The supervisor has exited. */
  #isAlone = false;
  #reload: (() => void) | undefined;
  #workerToken: string | undefined;

  constructor(env: Env) {
    this.#env = env;
    this.#supervisor = openSupervisorChannel({
      drain: (reason) => void this.#end(0, reason),
      reload: () => this.#reload?.(),
      go: (message) => this.#go.resolve(message),
      workerToken: (token) => {
        this.#workerToken = token;
      },
      supervisorGone: () => {
        this.#isAlone = true;
        void this.#end(0, 'the supervisor has exited');
      },
    });
    if (!this.#supervisor.attached) this.#go.resolve(undefined);
    const { bus } = this.#runtime;
    process.on('unhandledRejection', (fault) => bus.publish({ type: 'task-faulted', task: 'unhandled', fault }));
    process.on('uncaughtException', (fault) => {
      bus.publish({ type: 'task-faulted', task: 'uncaught', fault });
      void this.#end(1, 'an uncaught fault');
    });
  }

  async run(): Promise<void> {
    try {
      using deadline = this.#runtime.deadline(START_MS);
      await this.#start(deadline);
      const ms = Math.round(performance.now());
      this.#runtime.bus.publish({ type: 'process-started', role: 'control', pid: process.pid, ms });
      this.#supervisor.send({ t: 'ready', ms });
      saveCompileCacheOnce(this.#runtime, 'control');
    } catch (fault) {
      await this.#fail(fault);
    }
  }

  async #start(deadline: Deadline): Promise<void> {
    const env = this.#env;
    const runtime = this.#runtime;
    const search = (until: Deadline) => searchFor(runtime, env, until);
    await checkWayOut(env);
    const { config, digest } = await configured(this.#supervisor, search, deadline);
    // Loading the modules takes several times as long as the supervisor needs to open the port.
    const { startControl } = await import('./control-parts.ts');
    const go = await runtime.waits.for(this.#go.promise, { label: 'service-start', owner: 'the port', deadline });
    const start = {
      runtime,
      env,
      supervisor: this.#supervisor,
      search,
      config,
      // What the supervisor has, which keeps them when the configuration changes.
      port: go?.port ?? config.limits.port,
      workers: namedLimit(go?.limits ?? {}, 'workers') ?? config.limits.workers,
      digest,
      running: this.#running,
      logServices: this.#telemetry,
      workerToken: () => this.#workerToken,
    };
    this.#reload = await startControl(start, deadline);
  }

  /** Reports why the start failed, and ends. */
  async #fail(fault: unknown): Promise<never> {
    const { bus } = this.#runtime;
    if (fault instanceof HubError && fault.code === 'config-invalid') {
      const errors = fault.detail.operator?.errors;
      const lines = Array.isArray(errors) ? errors.map(String) : [fault.message];
      this.#supervisor.send({ t: 'hopeless', lines });
      bus.publish({ type: 'config-refused', file: this.#env[PROCESS_ENV.configFile] ?? '', errors: lines });
      await this.#end(EXIT_CONFIG, 'the configuration is invalid');
    }
    bus.publish({ type: 'task-faulted', task: 'start control', fault });
    return this.#end(1, fault instanceof Error ? fault.message : String(fault));
  }

  async #end(code: number, reason: string): Promise<never> {
    // A second request ends the process at once.
    if (this.#isEnding) process.exit(code);
    this.#isEnding = true;
    const runtime = this.#runtime;
    const bornMs = runtime.clock.nowMs();
    using deadline = runtime.deadline(STOP_MS);
    const stuck = await stopAll(this.#running, runtime, deadline);
    if (this.#isAlone) await endAllOrphans({ runtime, mark: this.#env[DESCENDANT_MARK] });
    const ms = Math.round(runtime.clock.nowMs() - bornMs);
    runtime.bus.publish({ type: 'process-stopped', role: 'control', reason, ms, stuck });
    await stopAll(this.#telemetry, runtime, deadline);
    process.exit(code);
  }
}

/**
 * Reads the configuration and reports its limits to the supervisor. Throws `config-invalid` with all lines to print.
 */
async function configured(
  supervisor: SupervisorChannel,
  search: (deadline: Deadline) => LoadOptions,
  deadline: Deadline,
): Promise<Loaded & { readonly config: Config }> {
  using reading = deadline.sooner(READ_MS);
  const loaded = await loadConfig(search(reading));
  const { config, problems } = loaded;
  const lines = problems.length > 0 ? formatProblems(problems).split('\n') : [];
  if (!config) {
    const hint = 'Not started: the configuration has errors. `mcphub config validate` checks it again.';
    throw new HubError('config-invalid', { detail: { operator: { errors: [...lines, hint] } } });
  }
  supervisor.send({ t: 'configured', limits: withFormerNames(config.limits), lines });
  return { ...loaded, config };
}

/** Throws `config-invalid` when the proxies or certificate authorities of the environment cannot be used. */
async function checkWayOut(env: Env): Promise<void> {
  // Loaded only when there is something to check, because it would delay every start.
  if (!WAY_OUT.some((name) => env[name])) return;
  const { checkEgressEnvironment } = await import('../net/egress-environment.ts');
  checkEgressEnvironment(env);
}

function searchFor(runtime: Runtime, env: Env, deadline: Deadline): LoadOptions {
  const flags = flagsFrom(env[PROCESS_ENV.flags]);
  return { env, cwd: process.cwd(), home: env.HOME ?? homedir(), flags, runtime, deadline };
}

/** Flags as the supervisor passes them; a variable that was set by hand is checked by `parse.ts` like any flag. */
function flagsFrom(text: string | undefined): LimitFlags {
  try {
    const given: unknown = JSON.parse(text ?? '{}');
    return typeof given === 'object' && given !== null ? given : {};
  } catch {
    return {};
  }
}

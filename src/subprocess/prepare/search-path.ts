/**
 * The search path for programs, and the wrapper that ends children with this process; one for each hub. A hub started
 * by a desktop or by systemd has a short PATH; the user's login shell knows where npx and uvx are.
 * Guarantees: `current` returns at once; the PATH of this process comes first, the login shell only adds to it; a shell
 * that hangs, fails or prints invalid text changes nothing and is killed after 2 s.
 */
import { delimiter, isAbsolute } from 'node:path';
import { DESCENDANT_MARK } from '../../model/supervisor-messages.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { sameUser } from '../spawn/isolation.ts';
import { runProgram } from '../spawn/run-program.ts';
import { findCommand } from './command.ts';
import { childEnvironment } from './environment.ts';

export interface SearchPathOptions {
  readonly runtime: Runtime;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const SHELL_MS = 2000;
const TRY_MS = 2000;
const ENTRIES = 256;
const FENCE = '__mcphub_path__';
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter);

export class SearchPath {
  readonly #parts: SearchPathOptions;
  readonly #given: string;
  #path: string;
  #asked: Promise<void> | undefined;
  #tried: Promise<readonly string[]> | undefined;

  constructor(parts: SearchPathOptions) {
    const { env } = parts;
    this.#parts = parts;
    this.#given = env.PATH ?? env.Path ?? SYSTEM_PATH;
    this.#path = this.#given;
  }

  /** Returns PATH for children, as known now. */
  current(): string {
    return this.#path;
  }

  /** Starts the login shell in the background, without waiting for its output. */
  start(_deadline: Deadline): Promise<void> {
    const { env, runtime } = this.#parts;
    const shell = env.SHELL ?? '';
    if (this.#asked || process.platform === 'win32' || !isAbsolute(shell)) return Promise.resolve();
    this.#asked = new Promise((resolve) => {
      runtime.scope.run('login shell', () => this.#askShell(shell).finally(resolve));
    });
    return Promise.resolve();
  }

  /** Settles when the login shell has answered or failed; at once when it was not started. */
  async settled(deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    if (this.#asked !== undefined)
      await runtime.waits.for(this.#asked, { label: 'login-shell', owner: 'search path', deadline });
  }

  /**
   * Returns program and arguments that end a child with this process (Linux, util-linux setpriv), or none. Tested once.
   */
  lifeline(deadline: Deadline): Promise<readonly string[]> {
    const { runtime } = this.#parts;
    this.#tried ??= this.#tryWrapper();
    return runtime.waits.for(this.#tried, { label: 'upstream-start', owner: 'setpriv', deadline });
  }

  #plan(label: 'login-shell' | 'upstream-start', file: string, args: readonly string[]) {
    const { runtime, env } = this.#parts;
    return {
      runtime,
      label,
      owner: file,
      file,
      args,
      cwd: '/',
      isolation: sameUser([]),
      env: childEnvironment({ inherited: env, own: {}, path: this.#given, mark: env[DESCENDANT_MARK] ?? 'mcphub' }).env,
    };
  }

  async #askShell(shell: string): Promise<void> {
    const { runtime } = this.#parts;
    using deadline = runtime.deadline(SHELL_MS);
    const question = `printf '%s%s%s' ${FENCE} "$PATH" ${FENCE}`;
    try {
      const end = await runProgram(this.#plan('login-shell', shell, ['-lic', question]), () => {}, deadline);
      this.#path = merged(this.#given, end.stdout.split(FENCE)[1] ?? '');
    } catch {
      // There is no such shell, or it hangs in its start files: PATH is not changed.
    }
  }

  async #tryWrapper(): Promise<readonly string[]> {
    const { runtime } = this.#parts;
    if (process.platform !== 'linux') return [];
    using deadline = runtime.deadline(TRY_MS);
    try {
      const setpriv = await runtime.waits.for(
        findCommand({ command: 'setpriv', cwd: '/', path: [SYSTEM_PATH, this.#given].join(delimiter) }),
        { label: 'upstream-start', owner: 'setpriv', deadline },
      );
      const words = [setpriv, '--pdeathsig', 'KILL', '--'];
      // The setpriv of Busybox and of util-linux before 2.33 has no such option.
      const end = await runProgram(
        this.#plan('upstream-start', setpriv, [...words.slice(1), setpriv, '--version']),
        () => {},
        deadline,
      );
      return end.code === 0 ? words : [];
    } catch {
      return [];
    }
  }
}

/** Returns `given` first, then the entries that only `more` has. Relative entries of the shell are left out. */
function merged(given: string, more: string): string {
  const entries = new Set(given.split(delimiter));
  for (const entry of more.trim().split(delimiter)) {
    if (isAbsolute(entry) && entries.size < ENTRIES && !/[\n\r]/.test(entry)) entries.add(entry);
  }
  return [...entries].join(delimiter);
}

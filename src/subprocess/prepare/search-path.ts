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

export interface SearchPath {
  /** Returns PATH for children, as known now. */
  current(): string;
  /** Starts the login shell in the background, without waiting for its output. */
  start(deadline: Deadline): Promise<void>;
  /** Settles when the login shell has answered or failed; at once when it was not started. */
  settled(deadline: Deadline): Promise<void>;
  /**
   * Returns program and arguments that end a child with this process (Linux, util-linux setpriv), or none. Tested once.
   */
  lifeline(deadline: Deadline): Promise<readonly string[]>;
}

export interface SearchPathOptions {
  readonly runtime: Runtime;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const SHELL_MS = 2000;
const TRY_MS = 2000;
const ENTRIES = 256;
const FENCE = '__mcphub_path__';
const SYSTEM_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(delimiter);

export function createSearchPath({ runtime, env }: SearchPathOptions): SearchPath {
  const given = env.PATH ?? env.Path ?? SYSTEM_PATH;
  let path = given;
  let asked: Promise<void> | undefined;
  let tried: Promise<readonly string[]> | undefined;

  const plan = (label: 'login-shell' | 'upstream-start', file: string, args: readonly string[]) => ({
    runtime,
    label,
    owner: file,
    file,
    args,
    cwd: '/',
    isolation: sameUser([]),
    env: childEnvironment({ inherited: env, own: {}, path: given, mark: env[DESCENDANT_MARK] ?? 'mcphub' }).env,
  });

  async function askShell(shell: string): Promise<void> {
    using deadline = runtime.deadline(SHELL_MS);
    const question = `printf '%s%s%s' ${FENCE} "$PATH" ${FENCE}`;
    try {
      const end = await runProgram(plan('login-shell', shell, ['-lic', question]), () => {}, deadline);
      path = merged(given, end.stdout.split(FENCE)[1] ?? '');
    } catch {
      // There is no such shell, or it hangs in its start files: PATH is not changed.
    }
  }

  async function tryWrapper(): Promise<readonly string[]> {
    if (process.platform !== 'linux') return [];
    using deadline = runtime.deadline(TRY_MS);
    try {
      const setpriv = await runtime.waits.for(
        findCommand({ command: 'setpriv', cwd: '/', path: [SYSTEM_PATH, given].join(delimiter) }),
        { label: 'upstream-start', owner: 'setpriv', deadline },
      );
      const words = [setpriv, '--pdeathsig', 'KILL', '--'];
      // The setpriv of Busybox and of util-linux before 2.33 has no such option.
      const end = await runProgram(
        plan('upstream-start', setpriv, [...words.slice(1), setpriv, '--version']),
        () => {},
        deadline,
      );
      return end.code === 0 ? words : [];
    } catch {
      return [];
    }
  }

  return {
    current: () => path,
    start() {
      const shell = env.SHELL ?? '';
      if (asked || process.platform === 'win32' || !isAbsolute(shell)) return Promise.resolve();
      asked = new Promise((resolve) => {
        runtime.scope.run('login shell', () => askShell(shell).finally(resolve));
      });
      return Promise.resolve();
    },
    async settled(deadline) {
      if (asked !== undefined) await runtime.waits.for(asked, { label: 'login-shell', owner: 'search path', deadline });
    },
    lifeline(deadline) {
      tried ??= tryWrapper();
      return runtime.waits.for(tried, { label: 'upstream-start', owner: 'setpriv', deadline });
    },
  };
}

/** Returns `given` first, then the entries that only `more` has. Relative entries of the shell are left out. */
function merged(given: string, more: string): string {
  const entries = new Set(given.split(delimiter));
  for (const entry of more.trim().split(delimiter)) {
    if (isAbsolute(entry) && entries.size < ENTRIES && !/[\n\r]/.test(entry)) entries.add(entry);
  }
  return [...entries].join(delimiter);
}

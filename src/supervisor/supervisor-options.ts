/** What the supervisor is started with, and the environment that its processes get from it. */
import { type LimitName, type Limits, withFormerNames } from '../config/limits.ts';
import { PROCESS_ENV } from '../model/supervisor-messages.ts';

export interface SupervisorOptions {
  /** Limits from the command line; they override environment and file. */
  readonly flags: Partial<Record<LimitName, number>>;
  /** Undefined = 127.0.0.1 and ::1. */
  readonly host: string | undefined;
  readonly dataDir: string;
  readonly runDir: string;
  readonly configFile: string | undefined;
  /** Path of process/main.ts. */
  readonly entry: string;
  /** What is known before the configuration is read. */
  readonly limits: Limits;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Stdout is a terminal. */
  readonly terminal: boolean;
  readonly version: string;
}

/** Returns the environment that all processes of a supervisor have in common. */
export function processEnvironment(options: SupervisorOptions): Readonly<Record<string, string | undefined>> {
  const { env, dataDir, runDir, configFile, flags, terminal } = options;
  return {
    ...env,
    [PROCESS_ENV.dataDir]: dataDir,
    [PROCESS_ENV.runDir]: runDir,
    ...(configFile === undefined ? {} : { [PROCESS_ENV.configFile]: configFile }),
    [PROCESS_ENV.flags]: JSON.stringify(withFormerNames(flags)),
    MCPHUB_TERMINAL: terminal ? '1' : '0',
  };
}

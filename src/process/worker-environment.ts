/**
 * What a worker process reads from its environment variables, most of which the supervisor sets.
 */
import { dirname, join } from 'node:path';
import { DESCENDANT_MARK, PROCESS_ENV } from '../model/supervisor-messages.ts';

export interface WorkerEnvironment {
  readonly variables: NodeJS.ProcessEnv;
  readonly slot: number;
  readonly dataDir: string;
  /** Directory of the private sockets. */
  readonly runDir: string;
  /** Directory of the configuration file. */
  readonly configDir: string;
  /** Stands in the environment of all descendants of this process. */
  readonly mark: string;
  /** Number of the process in its slot, counted by the supervisor; without a supervisor, its pid. */
  readonly life: number;
  /** Another worker of this slot still serves. */
  readonly isReplacement: boolean;
  /** Socket of a worker that an earlier replacement was to replace; undefined when there is none. */
  readonly leavingSocket: string | undefined;
}

export function readWorkerEnvironment(variables: NodeJS.ProcessEnv): WorkerEnvironment {
  const slot = Number(variables[PROCESS_ENV.slot] ?? 1);
  const dataDir = variables[PROCESS_ENV.dataDir] ?? '.';
  const runDir = variables[PROCESS_ENV.runDir] ?? join(dataDir, 'run');
  const mark = variables[DESCENDANT_MARK] ?? `mcphub.hub-${slot}.${process.pid}`;
  const leaving = variables[PROCESS_ENV.leaving];
  return {
    variables,
    slot,
    dataDir,
    runDir,
    configDir: dirname(variables[PROCESS_ENV.configFile] ?? '.'),
    mark,
    life: Number(mark.split('.').at(-1)) || 0,
    isReplacement: variables[PROCESS_ENV.replacement] === '1',
    leavingSocket: leaving ? join(runDir, leaving) : undefined,
  };
}

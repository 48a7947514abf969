/**
 * A supervisor over fake parts, as a process of its own: options come as JSON in the first argument.
 */
import { join } from 'node:path';
import { type LimitName, limitsFrom } from '../../src/config/limits.ts';
import { runSupervisor } from '../../src/supervisor/supervisor.ts';

export interface FakeSupervisorOptions {
  readonly dataDir: string;
  readonly port: number;
  readonly workers: number;
  readonly limits: Partial<Record<LimitName, number>>;
}

const { dataDir, port, workers, limits } = JSON.parse(process.argv[2] ?? '{}') as FakeSupervisorOptions;
process.exit(
  await runSupervisor({
    flags: { ...limits, port, workers },
    host: '127.0.0.1',
    dataDir,
    runDir: join(dataDir, 'run'),
    configFile: undefined,
    entry: join(import.meta.dirname, 'fake-process.ts'),
    limits: limitsFrom({ ...limits }),
    env: process.env,
    terminal: false,
    version: '0.0.0',
  }),
);

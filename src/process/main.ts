/**
 * Entry point of a forked process: selects the data or control plane by the environment. The supervisor forks; the CLI
 * reads the command line.
 */
import { PROCESS_ENV } from '../model/supervisor-messages.ts';
import { endFatalStart } from './fatal-start.ts';
import { lightenHttp } from './light-http.ts';

lightenHttp();
const role = process.env[PROCESS_ENV.role];
if (role === 'hub') {
  const { runWorker } = await import('./worker-process.ts');
  await runWorker(process.env).catch(endFatalStart);
} else if (role === 'control') {
  const { runControl } = await import('./control-process.ts');
  await runControl(process.env);
} else {
  process.stderr.write(
    `This program is started by the supervisor of mcphub; run \`mcphub start\` instead (${PROCESS_ENV.role}=${role ?? ''}).\n`,
  );
  process.exitCode = 2;
}

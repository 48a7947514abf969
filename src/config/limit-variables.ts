/** Warns of environment variables that are probably misspelled names of limits (`limit-values.ts` reads the limits). */
import { closestOf } from './closest.ts';
import { FORMER_NAMES, LIMIT_NAMES, LIMITS } from './limits.ts';
import type { Problems } from './problems.ts';
import type { Environment } from './variables.ts';

const KNOWN_VARIABLES: ReadonlySet<string> = new Set(LIMIT_NAMES.map((name) => LIMITS[name].env));
const FORMER_VARIABLES: ReadonlySet<string> = new Set(Object.values(FORMER_NAMES).map(({ env }) => env));

/** Reports near misses only, because the environment contains unrelated variables. */
export function warnOfUnknownVariables(env: Environment, problems: Problems): void {
  for (const name of Object.keys(env)) {
    if (
      !name.startsWith('MCPHUB_') ||
      KNOWN_VARIABLES.has(name) ||
      FORMER_VARIABLES.has(name) ||
      OTHER_VARIABLES.has(name)
    )
      continue;
    const meant = closestOf(name.slice('MCPHUB_'.length), VARIABLE_TAILS);
    if (meant === undefined) continue;
    const message = `no such variable; did you mean MCPHUB_${meant}?`;
    const place = { file: 'environment', line: 0, column: 0, path: name };
    problems.add({ severity: 'warning', ...place, message, expected: undefined });
  }
}

const VARIABLE_TAILS: readonly string[] = [...KNOWN_VARIABLES]
  .filter((name) => name.startsWith('MCPHUB_'))
  .map((name) => name.slice('MCPHUB_'.length));

/** Variables of the hub that are not limits. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set([
  'MCPHUB_CONFIG',
  'MCPHUB_SETTING_PATH',
  'MCPHUB_DATA_DIR',
  'MCPHUB_RUN_DIR',
  'MCPHUB_PROCESS',
  'MCPHUB_FLAGS',
  'MCPHUB_SLOT',
  'MCPHUB_MARK',
  'MCPHUB_SECRET',
  'MCPHUB_SECRET_FILE',
  'MCPHUB_KEY',
  'MCPHUB_ALLOWED_HOSTS',
  'MCPHUB_ALLOWED_ORIGINS',
  // Kubernetes sets these for a service named mcphub.
  'MCPHUB_PORT',
  'MCPHUB_SERVICE_HOST',
  'MCPHUB_SERVICE_PORT',
]);

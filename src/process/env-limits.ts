/**
 * Reads limits from the environment, for a process that has no configuration yet.
 * Guarantees: values that are not numbers in range are skipped; control reports them with name and range.
 */
import { FORMER_NAMES, isWithin, LIMIT_NAMES, LIMITS, type LimitName } from '../config/limits.ts';

export function envLimits(env: Readonly<Record<string, string | undefined>>): Partial<Record<LimitName, number>> {
  const values: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    const former = FORMER_NAMES[name];
    const text = env[LIMITS[name].env] || (former && env[former.env]) || '';
    const value = text === '' ? Number.NaN : Number(text);
    if (isWithin(name, value)) values[name] = value;
  }
  return values;
}

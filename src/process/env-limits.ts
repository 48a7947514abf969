/**
 * Limits that stand in the environment: what a process knows before it has any configuration.
 * Promises: what is not a number within its range is left out; control reports it with name and range.
 */
import { isWithin, LIMIT_NAMES, LIMITS, type LimitName } from '../config/limits.ts';

export function envLimits(env: Readonly<Record<string, string | undefined>>): Partial<Record<LimitName, number>> {
  const values: Partial<Record<LimitName, number>> = {};
  for (const name of LIMIT_NAMES) {
    const text = env[LIMITS[name].env];
    const value = text === undefined || text === '' ? Number.NaN : Number(text);
    if (isWithin(name, value)) values[name] = value;
  }
  return values;
}

/**
 * Determines the values of the limits table and of a few settings: flag over environment over file over default.
 * `limits.ts` is the table.
 * Guarantees: every given value is checked, also an overridden one; limits that depend on each other are checked
 * together; the source of each value is reported.
 */
import type { Explained } from './explain.ts';
import { warnOfUnknownVariables } from './limit-variables.ts';
import {
  FORMER_NAMES,
  LIMIT_NAMES,
  LIMITS,
  type LimitName,
  type Limits,
  limitsFrom,
  withFormerNames,
} from './limits.ts';
import type { Problems } from './problems.ts';
import { parseQuantity, quantityText } from './quantity.ts';
import type { Environment } from './variables.ts';

export type LimitFlags = Readonly<Partial<Record<LimitName, number>>>;

export interface LimitInput {
  /** Values from the file by name, already of the right type. */
  readonly file: Readonly<Record<string, number | string | undefined>>;
  readonly env: Environment;
  readonly flags: LimitFlags;
  readonly problems: Problems;
  readonly lineOf: (name: string) => number;
}

export interface LimitValues {
  readonly limits: Limits;
  /** Values that differ from the table's defaults. */
  readonly overrides: Readonly<Record<string, number>>;
  readonly sources: readonly Explained[];
}

interface Given {
  readonly value: number;
  readonly source: Explained['source'];
  /** The name or variable under which the value was given: the present or the former one. */
  readonly as: string;
}

export function readLimits(input: LimitInput): LimitValues {
  const values: Record<string, number> = {};
  const overrides: Record<string, number> = {};
  const given = new Map<LimitName, Given>(); // bounded by: the limits table
  const sources: Explained[] = [];
  for (const name of LIMIT_NAMES) {
    const row = LIMITS[name];
    const found = givenFor(name, input);
    const value = found?.value ?? row.default;
    const source = found?.source ?? 'default';
    if (found) given.set(name, found);
    values[name] = value;
    if (value !== row.default) overrides[name] = value;
    const isFile = source === 'file';
    sources.push({
      name: `limits.${name}`,
      value,
      source,
      unit: row.unit,
      file: isFile ? input.problems.file : undefined,
      line: isFile ? input.lineOf(found?.as ?? name) : undefined,
      variable: source === 'env' ? found?.as : undefined,
    });
  }
  const limits = limitsFrom(values);
  checkOrder(limits, given, input.problems);
  warnOfUnknownVariables(input.env, input.problems);
  return { limits, overrides: withFormerNames(overrides), sources };
}

function givenFor(name: LimitName, input: LimitInput): Given | undefined {
  const fromFile = givenUnder(name, input, 'file');
  const fromEnv = givenUnder(name, input, 'env');
  const fromFlag = givenUnder(name, input, 'flag');
  return fromFlag ?? fromEnv ?? fromFile;
}

type GivenSource = 'file' | 'env' | 'flag';

/** Returns the value of one source under the present name, else under the former one; both are checked. */
function givenUnder(name: LimitName, input: LimitInput, source: GivenSource): Given | undefined {
  const key = source === 'env' ? 'env' : 'name';
  const present = givenAs({ name, env: LIMITS[name].env }[key], name, { input, source });
  const former = FORMER_NAMES[name];
  return present ?? (former && givenAs(former[key], name, { input, source }));
}

/** An empty variable counts as unset: compose files write `PORT=` for "none". */
function variable(env: Environment, name: string): string | undefined {
  const value = Object.hasOwn(env, name) ? env[name]?.trim() : undefined;
  return value === '' ? undefined : value;
}

function givenAs(
  as: string,
  name: LimitName,
  { input, source }: { input: LimitInput; source: GivenSource },
): Given | undefined {
  const values: Readonly<Record<string, number | string | undefined>> = source === 'file' ? input.file : input.flags;
  const given = source === 'env' ? variable(input.env, as) : values[as];
  if (given === undefined) return undefined;
  const parsed = parseQuantity(given, LIMITS[name], source === 'env');
  if (parsed.ok) return { value: parsed.value, source, as };
  const message = `is ${JSON.stringify(given).slice(0, 60)}`;
  if (source === 'file') input.problems.error(['limits', as], message, parsed.expected);
  else {
    const file = source === 'env' ? 'environment' : 'command line';
    input.problems.add({ severity: 'error', file, line: 0, column: 0, path: as, message, expected: parsed.expected });
  }
  return undefined;
}

/** Pairs in which the first limit must be less than the second (or equal, where `orEqual` is set). */
const ORDER: readonly { less: LimitName; more: LimitName; orEqual?: true }[] = [
  { less: 'drainMs', more: 'stopMs' },
  { less: 'stopMs', more: 'killMs' },
  { less: 'restartBaseMs', more: 'restartCapMs', orEqual: true },
  { less: 'breakerOpenMs', more: 'breakerCapMs', orEqual: true },
];

function checkOrder(limits: Limits, given: ReadonlyMap<LimitName, Given>, problems: Problems): void {
  for (const { less, more, orEqual } of ORDER) {
    if (limits[less] < limits[more] || (orEqual && limits[less] === limits[more])) continue;
    const name = given.has(less) ? less : more;
    const other = name === less ? more : less;
    const relation = `${name === less ? 'less' : 'more'} than`;
    const expected = `${relation}${orEqual ? ' or the same as' : ''} ${other}, which is ${quantityText(limits[other], LIMITS[other].unit)}`;
    const message = `is ${quantityText(limits[name], LIMITS[name].unit)}`;
    const source = given.get(name)?.source;
    if (source === 'file') problems.error(['limits', name], message, expected);
    else {
      const file = source === 'flag' ? 'command line' : 'environment';
      const path = source === 'flag' ? name : LIMITS[name].env;
      problems.add({ severity: 'error', file, line: 0, column: 0, path, message, expected });
    }
  }
}

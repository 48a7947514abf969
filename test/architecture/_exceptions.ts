/**
 * Places that a law forgives, each with its reason. The list is short on purpose, and a row that nothing needs any more
 * fails.
 */
export interface Exception {
  /** Name of the rule. */
  readonly rule: string;
  /** Path in `src/`, as findings begin with it. */
  readonly path: string;
  readonly why: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  { rule: 'a file has at most 300 lines', path: 'config/limits.ts', why: 'one table: the page of limits' },
  { rule: 'a file has at most 300 lines', path: 'model/errors.ts', why: 'one table: the page of errors' },
  { rule: 'a file has at most 300 lines', path: 'telemetry/event-lines.ts', why: 'one table: the lines of the log' },
  {
    rule: 'only cli and telemetry print',
    path: 'process/main.ts',
    why: 'tells a person who started a part by hand, before there is a sink',
  },
  {
    rule: 'no race instead of a wait',
    path: 'supervisor/process-instance.ts',
    why: 'the supervisor has no ledger of waits; collecting a crash report is bounded by a timer beside it',
  },
  {
    rule: 'no race instead of a wait',
    path: 'supervisor/supervisor.ts',
    why: 'the supervisor has no ledger of waits; the last sweep is bounded by a timer beside it',
  },
  { rule: 'only cli and telemetry print', path: 'subprocess/spawn/child.ts', why: '`process` is the child there' },
];

/** Findings that no exception covers. */
export function unforgiven(
  rule: string,
  findings: readonly string[],
  exceptions: readonly Exception[] = EXCEPTIONS,
): string[] {
  const paths = exceptions.filter((one) => one.rule === rule).map(({ path }) => path);
  return findings.filter((finding) => !paths.some((path) => isAbout(finding, path)));
}

/** Exceptions of these rules that forgive nothing. */
export function idleExceptions(
  findings: ReadonlyMap<string, readonly string[]>,
  exceptions: readonly Exception[] = EXCEPTIONS,
): Exception[] {
  return exceptions.filter(({ rule, path }) => findings.get(rule)?.some((finding) => isAbout(finding, path)) === false);
}

function isAbout(finding: string, path: string): boolean {
  return finding.startsWith(`${path}:`) || finding.startsWith(`${path} `);
}

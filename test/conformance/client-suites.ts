/**
 * The client side of the two official suites: each scenario is a server of theirs, and the client that they judge is a
 * hub (`hub-client.ts`). Which scenarios are required is read from the suites' own files; those about OAuth come with
 * the step that brings it.
 */
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../support/hub.ts';
import { type Check, isBad, runProgram } from './suites.ts';

export interface ClientSuite {
  readonly name: string;
  readonly folder: string;
  readonly version: string | undefined;
  readonly scenarios: readonly string[];
}

export interface ClientRun {
  readonly exitCode: number;
  /** Without what only tells what went over the wire. */
  readonly checks: readonly Check[];
  readonly bad: readonly Check[];
  readonly output: string;
}

const CLIENT = join(ROOT, 'test/conformance/hub-client.ts');
const CLIENT_MS = 45_000;

/** The required scenarios of a revision but those about OAuth. */
function requiredOf(folder: string, revision: string): string[] {
  const text = readFileSync(join(ROOT, 'node_modules', folder, 'requirements', `${revision}.yaml`), 'utf8');
  const section = /^client:\n((?: {2}- .*\n)+)/m.exec(text)?.[1] ?? '';
  return [...section.matchAll(/- (\S+)/g)].map(([, name]) => name ?? '').filter((name) => !name.startsWith('auth/'));
}

const ALPHA = 'conformance-0-2-alpha';

export const CLIENT_SUITES: readonly ClientSuite[] = [
  {
    ...{ name: '0.1.16', folder: 'conformance-0-1-16', version: undefined },
    // This one has no file of requirements; its suite `core` but for OAuth.
    scenarios: ['initialize', 'tools_call', 'elicitation-sep1034-client-defaults', 'sse-retry'],
  },
  ...['2025-11-25', '2026-07-28'].map((version) => ({
    ...{ name: `alpha.12 ${version}`, folder: ALPHA, version, scenarios: requiredOf(ALPHA, version) },
  })),
];

export async function runClient({ folder, version }: ClientSuite, scenario: string): Promise<ClientRun> {
  const out = mkdtempSync(join(tmpdir(), 'mcphub-conformance-'));
  try {
    const { exitCode, output } = await runProgram(join(ROOT, 'node_modules', folder, 'dist/index.js'), [
      'client',
      ...['--command', `${process.execPath} ${CLIENT}`],
      ...['--scenario', scenario],
      ...(version === undefined ? [] : ['--spec-version', version]),
      ...['--timeout', String(CLIENT_MS), '--output-dir', out],
    ]);
    const files = globSync('**/checks.json', { cwd: out });
    const all = files.flatMap((file) => JSON.parse(readFileSync(join(out, file), 'utf8')) as Check[]);
    const checks = all.filter(({ status }) => status !== 'INFO');
    return { exitCode, checks, bad: checks.filter(isBad), output };
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

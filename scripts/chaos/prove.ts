/**
 * Takes protections away, one by one, in a copy of the tree, and looks whether the test that guards each turns red.
 * Promises: the tree itself is not touched; a protection whose line is no longer there, or whose test is green before,
 * is reported and fails; the copy is removed.
 * Does not: decide what a protection is (`protections.ts`).
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PROTECTIONS, type Protection } from './protections.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const COPIED = ['src', 'test', 'bin', 'scripts', 'examples', 'package.json', 'tsconfig.json'];
/** A test whose protection is gone may hang: that is red too. */
const TEST_MS = 100_000;

/** `names` = rows or parts of file names; none = all. The answer is the exit code. */
export async function prove(names: readonly string[]): Promise<number> {
  const wanted = PROTECTIONS.filter(
    ({ row, file }) => names.length === 0 || names.some((name) => name === row || file.includes(name)),
  );
  const copy = mkdtempSync(join(tmpdir(), 'mcphub-prove-'));
  let unproven = 0;
  try {
    for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
    for (const one of wanted) {
      const said = tryOne(copy, one);
      if (said !== 'red') unproven += 1;
      console.log(
        `${said === 'red' ? 'red ' : 'FAIL'} ${one.row.padEnd(4)} ${one.what}${said === 'red' ? '' : `: ${said}`}`,
      );
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  console.log(
    `\n${wanted.length - unproven} of ${wanted.length} protections are proven by a test that turns red without them`,
  );
  return unproven === 0 && wanted.length > 0 ? 0 : 1;
}

/** 'red', or what is wrong. */
function tryOne(copy: string, { file, find, replace, test, name }: Protection): string {
  const path = join(copy, file);
  const text = readFileSync(path, 'utf8');
  const parts = text.split(find);
  if (parts.length !== 2) return `its line stands ${parts.length - 1} times in ${file}`;
  const before = run(copy, test, name);
  if (before.passed === 0 || before.status !== 0) return `its test is not green with it (${test}, ${name})`;
  writeFileSync(path, parts.join(replace));
  try {
    const after = run(copy, test, name);
    return after.status === 0 ? `its test stays green (${test}, ${name})` : 'red';
  } finally {
    writeFileSync(path, text);
  }
}

function run(copy: string, test: string, name: string): { status: number; passed: number } {
  const args = ['--test', '--test-reporter=tap', `--test-timeout=${TEST_MS}`, `--test-name-pattern=${name}`, test];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { status, stdout } = spawnSync(process.execPath, args, {
    cwd: copy,
    env,
    timeout: 2 * TEST_MS,
    encoding: 'utf8',
  });
  return { status: status ?? 1, passed: Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0) };
}

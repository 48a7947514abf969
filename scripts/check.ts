/**
 * `npm run check`: types, lint and format, architecture rules, dead code, side by side. Prints what fails and what each
 * cost; ends with 1 if any failed.
 * Does not: run unit tests or journeys (`npm test`).
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

interface Step {
  readonly name: string;
  readonly command: readonly [program: string, ...args: string[]];
}

interface Result {
  readonly step: Step;
  readonly ok: boolean;
  readonly seconds: number;
  readonly output: string;
}

/** Also run one by one as `npm run check:<name>`. */
const STEPS: readonly Step[] = ['types', 'lint', 'architecture', 'dead'].map((name) => ({
  name,
  command: ['npm', 'run', '--silent', `check:${name}`],
}));

function run(step: Step): Promise<Result> {
  const startMs = performance.now();
  const [program, ...args] = step.command;
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    const chunks: Buffer[] = [];
    const end = (ok: boolean, more = ''): void => {
      const output = Buffer.concat(chunks).toString() + more;
      resolve({ step, ok, seconds: (performance.now() - startMs) / 1000, output });
    };
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('error', (fault) => end(false, fault.message));
    child.on('close', (code) => end(code === 0));
  });
}

const startMs = performance.now();
const results = await Promise.all(STEPS.map(run));
for (const { step, ok, output } of results) if (!ok) console.log(`── ${step.name}\n${output.trimEnd()}\n`);
for (const { step, ok, seconds } of results)
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${step.name.padEnd(6)} ${seconds.toFixed(1)} s`);
console.log(`${((performance.now() - startMs) / 1000).toFixed(1)} s in all`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;

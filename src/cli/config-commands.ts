/**
 * `mcphub config validate
 * explain
 * schema`: works on the configuration without a hub.
 */
import { configJsonSchema } from '../config/json-schema.ts';
import { explain, formatProblems, type Loaded, loadConfig } from '../config/load.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { print, printJson, printMessage, table } from '../operator/output.ts';
import { createRuntime } from '../runtime/runtime.ts';

const READ_MS = 5000;

export async function loadForCli(
  path: string | undefined,
  more: { fallback?: string; flags?: Record<string, number> } = {},
): Promise<Loaded> {
  const runtime = createRuntime();
  using deadline = runtime.deadline(READ_MS);
  return loadConfig({
    path,
    env: process.env,
    cwd: process.cwd(),
    home: process.env.HOME ?? '',
    runtime,
    deadline,
    ...more,
  });
}

export async function validate(file: string | undefined, options: { json?: boolean }): Promise<void> {
  const loaded = await loadForCli(file);
  if (options.json) printJson({ file: loaded.file, valid: !hasErrors(loaded), problems: loaded.problems });
  else {
    if (loaded.problems.length > 0) printMessage(formatProblems(loaded.problems));
    if (loaded.config)
      print(
        `${loaded.config.file ?? 'no configuration file found'}: ${loaded.config.servers.length} servers, ${loaded.config.groups.length} groups, no errors`,
      );
  }
  failOnErrors(loaded);
}

function hasErrors(loaded: Loaded): boolean {
  return loaded.problems.some((problem) => problem.severity === 'error');
}

function failOnErrors(loaded: Loaded): void {
  const errors = loaded.problems.filter((problem) => problem.severity === 'error').length;
  if (errors > 0) throw new CliFailure(EXIT.badConfig, `${errors} error${errors === 1 ? '' : 's'}`);
}

export async function explainConfig(
  file: string | undefined,
  options: { json?: boolean; all?: boolean },
): Promise<void> {
  const loaded = await loadForCli(file);
  // A file that `start` would refuse must not look as if it were in force.
  if (loaded.problems.length > 0) printMessage(formatProblems(loaded.problems));
  const rows = explain(loaded).filter((row) => options.all === true || row.source !== 'default');
  if (options.json) printJson({ settings: rows });
  else if (rows.length === 0) print('All settings have their defaults; --all shows them.');
  else
    print(
      table(
        ['SETTING', 'VALUE', 'SOURCE'],
        rows.map((row) => [
          row.name,
          `${row.value}${row.unit ? ` ${row.unit}` : ''}`,
          row.line === undefined ? row.source : `${row.file}:${row.line}`,
        ]),
      ),
    );
  failOnErrors(loaded);
}

export function schema(): void {
  printJson(configJsonSchema());
}

#!/usr/bin/env node
/**
 * The `mcphub` command: `start` and `--version` run without commander, because that is faster; everything else uses
 * `program.ts`. bin/mcphub.js is the usual entry point and starts faster; running this file directly does the same.
 * Guarantees: data on stdout, messages on stderr; exit codes of `exit.ts`; no stack trace for an expected failure.
 */
import { CliFailure, EXIT } from '../operator/exit.ts';
import { print, printMessage } from '../operator/output.ts';
import { plain } from '../operator/printable.ts';
import { lightenHttp } from '../process/light-http.ts';
import { VERSION } from '../process/version.ts';
import { startOptionsFrom } from './start-options.ts';

async function run([command = '', ...words]: readonly string[]): Promise<void> {
  if ((command === '--version' || command === '-V') && words.length === 0) return print(VERSION);
  const options = command === 'start' || command === 'serve' ? startOptionsFrom(words) : undefined;
  if (options) return (await import('./start.ts')).start(options);
  process.exitCode = await (await import('./program.ts')).runProgram([command, ...words]);
}

function endsWith(fault: unknown): number {
  if (fault instanceof CliFailure) {
    printMessage(plain(fault.message));
    return fault.exitCode;
  }
  printMessage(fault instanceof Error ? (fault.stack ?? fault.message) : String(fault));
  return EXIT.error;
}

lightenHttp();
process.on('SIGPIPE', () => process.exit(EXIT.ok));
try {
  await run(process.argv.slice(2));
} catch (fault) {
  process.exitCode = endsWith(fault);
}

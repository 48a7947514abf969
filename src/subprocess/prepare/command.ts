/**
 * Finds the program of a child before it is spawned, so that "not found", "not executable" and "no such directory" are
 * told apart, also behind a wrapper.
 * Guarantees: an error says what was searched, where, and what to do; the rules are those of execvp (a command with a
 * slash is relative to the working directory).
 */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { HubError } from '../../model/errors.ts';
import { scriptFault } from './script-head.ts';

export interface CommandQuestion {
  readonly command: string;
  /** Absolute. */
  readonly cwd: string;
  /** PATH to search. */
  readonly path: string;
}

/**
 * Returns the absolute path of the program. Throws HubError `upstream-spawn` (detail: reason; for the operator command,
 * cwd, path).
 */
export async function findCommand(question: CommandQuestion): Promise<string> {
  const { command, cwd, path } = question;
  if (!(await isDirectory(cwd))) {
    const why = (await look(cwd)) === 'absent' ? 'does not exist' : 'is a file, not a directory';
    throw spawnFault('cwd-missing', question, `The working directory ${cwd} ${why}. Set "cwd" of this server.`);
  }
  if (command === '') throw spawnFault('not-found', question, 'The command is empty. Set "command" of this server.');
  let refused: string | undefined;
  for (const file of candidates(command, cwd, path)) {
    const kind = await look(file);
    if (kind === 'runs') {
      const wrong = await scriptFault(file, path, async (one) => (await look(resolve(cwd, one))) === 'runs');
      if (wrong === undefined) return file;
      throw spawnFault('no-interpreter', question, wrong);
    }
    if (kind === 'not-executable') refused ??= file;
  }
  if (refused !== undefined) {
    throw spawnFault('not-executable', question, `${refused} is not executable. Try: chmod +x ${refused}`);
  }
  if (command.includes('/') && (await isDirectory(resolve(cwd, command))))
    throw spawnFault(
      'is-directory',
      question,
      `${resolve(cwd, command)} is a directory. Set "command" to a program in it.`,
    );
  const where = command.includes('/') ? `in ${cwd}` : `on PATH ${path}`;
  throw spawnFault('not-found', question, `The command "${command}" was not found ${where}. ${hintFor(command)}`);
}

function spawnFault(reason: string, { command, cwd, path }: CommandQuestion, message: string): HubError {
  return new HubError('upstream-spawn', {
    message,
    detail: { phase: 'start', reason, operator: { command, cwd, path } },
  });
}

function candidates(command: string, cwd: string, path: string): string[] {
  const files =
    command.includes('/') || isAbsolute(command)
      ? [resolve(cwd, command)]
      : path
          .split(delimiter)
          .filter((directory) => directory !== '')
          .map((directory) => join(resolve(cwd, directory), command));
  if (process.platform !== 'win32') return files;
  return files.flatMap((file) => [file, `${file}.exe`, `${file}.cmd`, `${file}.bat`]);
}

async function look(file: string): Promise<'runs' | 'not-executable' | 'absent'> {
  try {
    if (!(await stat(file)).isFile()) return 'absent';
  } catch {
    return 'absent';
  }
  try {
    await access(file, constants.X_OK);
    return 'runs';
  } catch {
    return 'not-executable';
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

function hintFor(command: string): string {
  if (/^(npx|npm|node|pnpm|bunx)$/.test(command)) return 'Install Node.js, or give the full path in "command".';
  if (/^(uvx?|python3?)$/.test(command)) return 'Install uv (or Python), or give the full path in "command".';
  return 'Install it, or give its full path in "command".';
}

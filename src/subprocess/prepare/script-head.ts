/**
 * Reads the first line of a script. If the interpreter named there is missing, the system reports the script as
 * missing.
 */
import { open } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** The system reads no more than this. */
const HEAD_BYTES = 256;

/**
 * Returns why the system cannot run this script, as text for the operator; undefined when it can, or it is no script.
 * `exists` looks for a program file.
 */
export async function scriptFault(
  file: string,
  path: string,
  exists: (file: string) => Promise<boolean>,
): Promise<string | undefined> {
  const line = await firstLine(file);
  if (line === undefined) return undefined;
  if (line.endsWith('\r'))
    return (
      `The first line of ${file} ends with a carriage return (Windows line end), ` +
      `so that its interpreter is not found. Convert it: sed -i 's/\\r$//' ${file}`
    );
  const [interpreter = '', ...args] = line.trim().split(/[ \t]+/);
  if (interpreter === '') return undefined;
  if (!(await exists(interpreter)))
    return `${file} is a script for ${interpreter}, which is not there. Install it, or set "command" to the interpreter and put the script into "args".`;
  const program = interpreter.endsWith('/env')
    ? args.find((one) => !one.startsWith('-') && !one.includes('='))
    : undefined;
  if (program === undefined || program.includes('/')) return undefined;
  for (const folder of path.split(delimiter))
    if (folder !== '' && (await exists(join(folder, program)))) return undefined;
  return `${file} is a script for ${program}, which was not found on PATH ${path}. Install it, or set "PATH" in "env" of the server.`;
}

/** Returns the first line without `#!` and line end; undefined when it is no script, or cannot be read. */
async function firstLine(file: string): Promise<string | undefined> {
  try {
    await using handle = await open(file, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    const head = buffer.toString('latin1', 0, bytesRead);
    if (!head.startsWith('#!')) return undefined;
    const end = head.indexOf('\n');
    return head.slice(2, end < 0 ? undefined : end);
  } catch {
    return undefined;
  }
}

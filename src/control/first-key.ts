/**
 * The owner's first key, when there is no key at all: the one that was given, or a new one that one person gets to see.
 * Promises: there is no default secret; the key is told at a terminal, or kept in `first-key` (0600) of the data directory, and is in no
 * log; a given key of the wrong form is a `config-invalid`, never ignored.
 */
import { join } from 'node:path';
import { readConfigText } from '../config/config-file.ts';
import type { Limits } from '../config/limits.ts';
import { writeAtomically } from '../config/write-atomically.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal } from '../kernel/outcome.ts';
import { KEY_PATTERN, type Keys, newSecret } from './keys.ts';

export const FIRST_KEY_FILE = 'first-key';
const GIVEN = 'MCPHUB_BOOTSTRAP_KEY';

export interface FirstKeyParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly keys: Keys;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  /** Shows lines to the person at the terminal; undefined = there is none. */
  readonly tell: ((lines: readonly string[]) => void) | undefined;
}

/** Does nothing when there is any key, revoked ones too. Throws `config-invalid` or `store-failed`. */
export async function ensureFirstKey(parts: FirstKeyParts, deadline: Deadline): Promise<void> {
  const { kernel, keys, env, tell } = parts;
  if (keys.list().length > 0) return;
  const given = await givenKey(kernel, env, deadline);
  const secret = given ?? newSecret();
  // Kept before it works: a file that cannot be written must not leave a key that nobody has.
  const file = join(parts.dataDir, FIRST_KEY_FILE);
  const isKept = given === undefined && tell === undefined;
  if (isKept) await writeAtomically(file, `${secret}\n`, { waits: kernel.waits, deadline, owner: FIRST_KEY_FILE });
  const wish = { user: 'owner', name: 'first key', role: 'owner', groups: undefined, expiresAtMs: undefined } as const;
  const made = await keys.create({ ...wish, secret }, 'start', deadline);
  if (isRefusal(made)) throw new HubError('internal', { message: made.message });
  if (isKept) kernel.bus.publish({ type: 'first-key-kept', file });
  else if (given === undefined) tell?.(linesFor(secret, parts.limits.port));
}

async function givenKey(kernel: Kernel, env: FirstKeyParts['env'], deadline: Deadline): Promise<string | undefined> {
  const file = env[`${GIVEN}_FILE`];
  const direct = env[GIVEN];
  if (direct === undefined && file === undefined) return undefined;
  const source = direct === undefined ? `the file of ${GIVEN}_FILE` : GIVEN;
  const text = direct ?? (await textOf(kernel, file ?? '', deadline));
  if (KEY_PATTERN.test(text.trim()) && !isGuessable(text.trim())) return text.trim();
  throw new HubError('config-invalid', {
    message: `${source} is not a key: expected mcphub_ and 64 random digits 0-9 a-f (printf 'mcphub_%s\\n' "$(openssl rand -hex 32)")`,
  });
}

/** Random keys have about 16 different digits; fewer than 8 happen once in 10^18 keys, and in every key that was typed by hand. */
const DIFFERENT_DIGITS = 8;

function isGuessable(key: string): boolean {
  const digits = key.slice(key.indexOf('_') + 1);
  if (new Set(digits).size < DIFFERENT_DIGITS) return true;
  for (let period = 1; period <= digits.length / 2; period += 1)
    if (digits.startsWith(digits.slice(period))) return true;
  return false;
}

async function textOf(kernel: Kernel, file: string, deadline: Deadline): Promise<string> {
  const read = await readConfigText(file, kernel.waits, deadline);
  if ('text' in read) return read.text;
  throw new HubError('config-invalid', { message: `${GIVEN}_FILE (${file}) ${read.fault}` });
}

function linesFor(secret: string, port: number): string[] {
  const entry = { mcphub: { url: `http://localhost:${port}/mcp`, headers: { Authorization: `Bearer ${secret}` } } };
  return [
    '',
    'Your first key (an owner; it is shown this once and stored nowhere):',
    '',
    `  ${secret}`,
    '',
    'Cursor: put this into ~/.cursor/mcp.json',
    '',
    ...JSON.stringify({ mcpServers: entry }, null, 2)
      .split('\n')
      .map((line) => `  ${line}`),
    '',
    'More keys: mcphub keys create --user <name> --name <client>',
    '',
  ];
}

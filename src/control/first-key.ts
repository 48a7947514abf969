/**
 * Creates the owner's first key when there is none: the provided one, or a random one.
 * Guarantees: there is no default secret; the key is shown on a terminal or written to `first-key` (0600) in the data
 * directory, never logged; a malformed provided key throws `config-invalid`.
 */
import { join } from 'node:path';
import { readConfigText } from '../config/config-file.ts';
import { writeAtomically } from '../config/write-atomically.ts';
import { HubError } from '../model/errors.ts';
import { isRefusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { KEY_PATTERN, type Keys, newSecret } from './keys.ts';

export const FIRST_KEY_FILE = 'first-key';
const GIVEN = 'MCPHUB_BOOTSTRAP_KEY';

export interface FirstKeyParts {
  readonly runtime: Runtime;
  /** The port that is open. */
  readonly port: number;
  readonly keys: Keys;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  /** Shows lines on the terminal; undefined = no terminal. */
  readonly show: ((lines: readonly string[]) => void) | undefined;
}

/** Does nothing when any key exists, even a revoked one. Throws `config-invalid` or `store-failed`. */
export async function ensureFirstKey(parts: FirstKeyParts, deadline: Deadline): Promise<void> {
  const { runtime, keys, env, show } = parts;
  if (keys.list().length > 0) return;
  const given = await providedKey(runtime, env, deadline);
  const secret = given ?? newSecret();
  // Write the file before the key becomes valid: otherwise a failed write leaves a key that nobody has.
  const file = join(parts.dataDir, FIRST_KEY_FILE);
  const isWrittenToFile = given === undefined && show === undefined;
  if (isWrittenToFile)
    await writeAtomically(file, `${secret}\n`, { waits: runtime.waits, deadline, owner: FIRST_KEY_FILE });
  const owner = { user: 'owner', name: 'first key', role: 'owner', groups: undefined, expiresAtMs: undefined } as const;
  const made = await keys.create({ ...owner, secret }, 'start', deadline);
  if (isRefusal(made)) throw new HubError('internal', { message: made.message });
  if (isWrittenToFile) runtime.bus.publish({ type: 'first-key-kept', file });
  else if (given === undefined) show?.(snippet(secret, parts.port));
}

async function providedKey(
  runtime: Runtime,
  env: FirstKeyParts['env'],
  deadline: Deadline,
): Promise<string | undefined> {
  const file = env[`${GIVEN}_FILE`];
  const direct = env[GIVEN];
  if (direct === undefined && file === undefined) return undefined;
  const source = direct === undefined ? `the file of ${GIVEN}_FILE` : GIVEN;
  const text = direct ?? (await readKeyFile(runtime, file ?? '', deadline));
  if (KEY_PATTERN.test(text.trim()) && !isGuessable(text.trim())) return text.trim();
  throw new HubError('config-invalid', {
    message: `${source} is not a key: expected mcphub_ and 64 random digits 0-9 a-f (printf 'mcphub_%s\\n' "$(openssl rand -hex 32)")`,
  });
}

/**
 * Random keys have about 16 distinct digits. Fewer than 8 occur once in 10^18 random keys, but in most keys typed by
 * hand.
 */
const DIFFERENT_DIGITS = 8;

function isGuessable(key: string): boolean {
  const digits = key.slice(key.indexOf('_') + 1);
  if (new Set(digits).size < DIFFERENT_DIGITS) return true;
  for (let period = 1; period <= digits.length / 2; period += 1)
    if (digits.startsWith(digits.slice(period))) return true;
  return false;
}

async function readKeyFile(runtime: Runtime, file: string, deadline: Deadline): Promise<string> {
  const read = await readConfigText(file, runtime.waits, deadline);
  if ('text' in read) return read.text;
  throw new HubError('config-invalid', { message: `${GIVEN}_FILE (${file}) ${read.fault}` });
}

function snippet(secret: string, port: number): string[] {
  const entry = { mcphub: { url: `http://localhost:${port}/mcp`, headers: { Authorization: `Bearer ${secret}` } } };
  return [
    '',
    'Your first key (role owner). It is shown only once and is not stored:',
    '',
    `  ${secret}`,
    '',
    'For Cursor, add this to ~/.cursor/mcp.json:',
    '',
    ...JSON.stringify({ mcpServers: entry }, null, 2)
      .split('\n')
      .map((line) => `  ${line}`),
    '',
    'More keys: mcphub keys create --user <name> --name <client>',
    '',
  ];
}

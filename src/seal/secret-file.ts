/**
 * Reads the sealing secret from MCPHUB_SECRET, MCPHUB_SECRET_FILE, or the file `secret` in the data directory (0600),
 * created when missing.
 * Guarantees: processes that start at the same time agree on one secret; short or well-known secrets are refused. To
 * rotate, put the new secret first and the old ones after it, one per line.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HubError } from '../model/errors.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Waits } from '../runtime/waits.ts';

const SECRET_FILE = 'secret';
const MIN_LENGTH = 16;
const KNOWN_SECRETS: ReadonlySet<string> = new Set([
  'your-secret-key-change-this',
  'changeme',
  'change-me-please',
  'secret-api-key',
  'supersecretsupersecret',
  'passwordpassword',
  '0123456789abcdef',
  'aaaaaaaaaaaaaaaa',
]);

export interface SecretSources {
  /** MCPHUB_SECRET. */
  readonly secret: string | undefined;
  /** MCPHUB_SECRET_FILE. */
  readonly secretFile: string | undefined;
  readonly dataDir: string;
  readonly waits: Waits;
}

/** Returns the secrets, newest first. Throws `config-invalid` for a weak or unreadable secret. */
export async function readOrCreateSecrets(sources: SecretSources, deadline: Deadline): Promise<Buffer[]> {
  const { waits } = sources;
  if (sources.secret) return validated(sources.secret, 'MCPHUB_SECRET');
  const path = sources.secretFile || join(sources.dataDir, SECRET_FILE);
  const reading = sources.secretFile ? read(path) : read(path).catch(() => create(path, sources.dataDir));
  return validated(await waits.for(reading, { label: 'config-read', owner: 'sealing secret', deadline }), path);
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HubError('config-invalid', {
      message: `The sealing secret cannot be read from ${path}: ${(cause as Error).message}`,
      cause,
    });
  }
}

async function create(path: string, dataDir: string): Promise<string> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeExclusively(path, `${randomBytes(32).toString('hex')}\n`);
  } catch (cause) {
    throw new HubError('config-invalid', {
      message: `The sealing secret cannot be written to ${path}: ${(cause as Error).message}`,
      detail: { setting: 'MCPHUB_SECRET_FILE' },
      cause,
    });
  }
  return read(path);
}

/** Writes a temporary file and links it into place: a process that comes second reads the file of the first. */
async function writeExclusively(path: string, text: string): Promise<void> {
  const aside = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(aside, text, { mode: 0o600, flag: 'wx', flush: true });
  try {
    await link(aside, path);
  } catch (fault) {
    const { code } = fault as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    // Some file systems (exFAT, many network shares) have no hard links: use an exclusive write there.
    if (!NO_LINKS.has(code ?? '')) throw fault;
    await writeFile(path, text, { mode: 0o600, flag: 'wx', flush: true }).catch((second: NodeJS.ErrnoException) => {
      if (second.code !== 'EEXIST') throw second;
    });
  } finally {
    await unlink(aside);
  }
}
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EXDEV']);

function validated(text: string, from: string): Buffer[] {
  // One per line, so that a pass phrase may contain spaces.
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length === 0) throw new HubError('config-invalid', { message: `The sealing secret in ${from} is empty.` });
  for (const line of lines) {
    if (line.length < MIN_LENGTH)
      throw new HubError('config-invalid', {
        message: `The sealing secret in ${from} is shorter than ${MIN_LENGTH} characters.`,
      });
    if (KNOWN_SECRETS.has(line.toLowerCase()) || new Set(line).size < 4)
      throw new HubError('config-invalid', {
        message: `The sealing secret in ${from} is well known or trivial; use 32 random bytes.`,
      });
  }
  return lines.map((line) => Buffer.from(line, 'utf8'));
}

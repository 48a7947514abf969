/**
 * Forms of the name of a tool or prompt: the exposed one (`server_tool`, at most 48 characters, unique by a hash where
 * it is needed) and other spellings that lead to it. `names.ts` assigns them.
 */
import { createHash } from 'node:crypto';

/** What clients accept as a name: see the header of `names.ts`. */
export const EXPOSED_NAME = /^[A-Za-z0-9_]{1,48}$/;
const MAX_LENGTH = 48;
const HASH_LENGTH = 6;

/** Returns one string for a server and a native name; slugs contain no line feed. */
export function pairKey(server: string, native: string): string {
  return `${server}\n${native}`;
}

/** Returns the exposed name of an item: the plain one, or with a hash when that is `taken`. */
export function unusedName(server: string, native: string, taken: ReadonlySet<string>): string {
  const plain = plainName(server, native);
  if (!taken.has(plain)) return plain;
  for (let round = 0; ; round += 1) {
    const name = withHash(plain, hashOf(server, native, round));
    if (!taken.has(name)) return name;
  }
}

function plainName(server: string, native: string): string {
  const tool = replaceInvalid(native);
  // A tool name without ASCII letters leaves nothing readable; then only the hash distinguishes tools.
  const readable = /[A-Za-z0-9]/.test(tool) ? tool : hashOf(server, native, 0);
  const whole = `${replaceInvalid(server)}_${readable}`;
  return whole.length <= MAX_LENGTH ? whole : withHash(whole, hashOf(server, native, 0));
}

function withHash(name: string, hash: string): string {
  return `${name.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
}

function hashOf(server: string, native: string, round: number): string {
  const text = round === 0 ? pairKey(server, native) : `${pairKey(server, native)}\n${round}`;
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_LENGTH);
}

function replaceInvalid(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_]/gu, '_');
}

/** Returns the normal form of a name: other characters than letters and digits become one underscore; case stays. */
export function normalName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]+/gu, '_');
}

/**
 * Returns other spellings, in normal form, that lead to a tool when unambiguous: `server_tool` untruncated, and the
 * native name alone.
 */
export function nameAliases(server: string, native: string): readonly string[] {
  const [qualified, bare] = [normalName(`${server}_${native}`), normalName(native)];
  return qualified === bare ? [qualified] : [qualified, bare];
}

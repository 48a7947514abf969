/**
 * Derives the short ASCII form of a configured name, for paths and exposed names. The loader refuses two names with the
 * same short form.
 * Guarantees: pure and stable; matches `^[A-Za-z0-9_-]{1,32}$`; a valid name stays unchanged; names that differ only in
 * letters outside ASCII get a hash, so that they do not collide.
 */
import { createHash } from 'node:crypto';

const LEGAL = /^[A-Za-z0-9_-]{1,32}$/;
const MAX_LENGTH = 32;
const HASH_LENGTH = 6;

/**
 * Returns the short form: `github` → `github`; `My Server` → `My-Server`; `깃허브` → `s-` and six hex digits; `Café` →
 * `Cafe`.
 */
export function slugFrom(name: string): string {
  if (LEGAL.test(name)) return name;
  const plain = name.normalize('NFKD').replace(/\p{M}+/gu, '');
  const readable = trimDashes(plain.replace(/[^A-Za-z0-9_-]+/g, '-'));
  const losesLetters = /[^\p{ASCII}\p{P}\p{Z}\p{S}]/u.test(plain);
  if (readable !== '' && readable.length <= MAX_LENGTH && !losesLetters) return readable;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_LENGTH);
  const start = trimDashes(readable.slice(0, MAX_LENGTH - HASH_LENGTH - 1));
  return `${start === '' ? 's' : start}-${hash}`;
}

/** Linear, unlike /-+$/, which takes quadratic time on a run of dashes that does not end the text. */
function trimDashes(text: string): string {
  let at = 0;
  let end = text.length;
  while (at < end && text[at] === '-') at += 1;
  while (end > at && text[end - 1] === '-') end -= 1;
  return text.slice(at, end);
}

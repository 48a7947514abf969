/**
 * Reads header values as lists (RFC 9110, sections 5.3 and 5.6.1): repeated lines and comma-separated values are
 * equivalent, empty members are ignored. Proxies and HTTP libraries merge a header that a client and its configuration
 * both set.
 */
import { decodeHeader } from './era-2026/header-value.ts';

const COMMA = 0x2c;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Returns the members of a list, trimmed and without empty ones. A comma inside a quoted string does not separate
 * members.
 */
export function listMembers(value: string): string[] {
  const members: string[] = []; // bounded by: the size of request headers
  let from = 0;
  let isQuoted = false;
  for (let at = 0; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (isQuoted && code === BACKSLASH) at += 1;
    else if (code === QUOTE) isQuoted = !isQuoted;
    else if (code === COMMA && !isQuoted) {
      addMember(members, value.slice(from, at));
      from = at + 1;
    }
  }
  addMember(members, value.slice(from));
  return members;
}

function addMember(members: string[], text: string): void {
  const member = text.trim();
  if (member !== '') members.push(member);
}

/**
 * Returns the only value of a header; equal members count once. Returns an empty string when it has none and undefined
 * when its members differ.
 */
export function onlyMember(value: string): string | undefined {
  if (!value.includes(',')) return value.trim();
  const [first = '', ...others] = listMembers(value);
  return others.every((other) => other === first) ? first : undefined;
}

/**
 * Returns true when an `Mcp-*` header, or each of its members, equals the value in the body. `accepts` tests decoded
 * text; `plain` is the text in the body, which may contain commas itself.
 */
export function everyMemberMatches(value: string, plain: string, accepts: (text: string) => boolean): boolean {
  const whole = value.trim();
  if (isAccepted(whole, accepts)) return true;
  if (!whole.includes(',')) return false;
  if (plain.includes(',') && repeats(whole, plain)) return true;
  const members = listMembers(whole);
  return members.length > 0 && members.every((member) => isAccepted(member, accepts));
}

function isAccepted(text: string, accepts: (text: string) => boolean): boolean {
  const decoded = decodeHeader(text);
  return decoded !== undefined && accepts(decoded);
}

/** Returns true when `list` consists of `text`, once or repeated. */
function repeats(list: string, text: string): boolean {
  let at = 0;
  while (at < list.length) {
    if (!list.startsWith(text, at)) return false;
    const end = at + text.length;
    at = endOfSeparator(list, end);
    if (at < list.length && !list.slice(end, at).includes(',')) return false;
  }
  return true;
}

/** Returns the offset after the commas and blanks at `from`. */
function endOfSeparator(list: string, from: number): number {
  let at = from;
  while (at < list.length && ', \t'.includes(list.charAt(at))) at += 1;
  return at;
}

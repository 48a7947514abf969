/**
 * Matches URIs against URI templates (RFC 6570, levels 1 to 3): an expression stands for one or more characters, `{?…}`
 * and `{&…}` also for none; only `{+…}`, `{#…}` and `{/…}` match a slash. Values of variables are not extracted.
 * Guarantees: linear in the URI for each piece of the template (no regular expression is built from a template); a
 * template with more than 16 expressions or unbalanced braces matches nothing.
 */
const MAX_EXPRESSIONS = 16;
const SLASH = 0x2f;

/** A literal with its failure table (Knuth–Morris–Pratt), or an expression. */
type Piece =
  | { readonly text: string; readonly jumps: Uint16Array }
  | { readonly text: undefined; readonly slashes: boolean; readonly mayBeEmpty: boolean };

export interface UriTemplate {
  readonly pieces: readonly Piece[];
  /** Number of literal characters: of two matching templates, the one with more is more specific. */
  readonly fixed: number;
}

/** Returns undefined when nothing can match. `template` has at most 65,535 characters. */
export function compileTemplate(template: string): UriTemplate | undefined {
  const pieces: Piece[] = []; // bounded by: MAX_EXPRESSIONS
  let fixed = 0;
  let at = 0;
  for (let count = 0; ; count += 1) {
    const open = template.indexOf('{', at);
    const text = template.slice(at, open < 0 ? undefined : open);
    if (text.includes('}')) return undefined;
    if (text !== '') pieces.push({ text, jumps: failureTable(text) });
    fixed += text.length;
    if (open < 0) return { pieces, fixed };
    const close = template.indexOf('}', open);
    const inside = template.slice(open + 1, close);
    if (close < 0 || count === MAX_EXPRESSIONS || inside === '' || inside.includes('{')) return undefined;
    pieces.push({
      text: undefined,
      slashes: '+#/'.includes(inside.charAt(0)),
      mayBeEmpty: '?&'.includes(inside.charAt(0)),
    });
    at = close + 1;
  }
}

/** Returns the literal that every matching URI begins with; '' = any. */
export function fixedPrefix({ pieces: [first] }: UriTemplate): string {
  return first?.text ?? '';
}

/** Returns the maximum work of `matchesTemplate`, in characters examined. */
export function matchCost({ pieces }: UriTemplate, uri: string): number {
  return pieces.length * (uri.length + 1);
}

/** A cheap check that excludes most URIs. */
export function hasPrefix({ pieces: [first] }: UriTemplate, uri: string): boolean {
  return first?.text === undefined || uri.startsWith(first.text);
}

export function matchesTemplate({ pieces }: UriTemplate, uri: string): boolean {
  // Prefix lengths of the URI that the pieces so far can match.
  let made = new Uint8Array(uri.length + 1);
  made[0] = 1;
  for (const piece of pieces)
    made = piece.text === undefined ? matchExpression(made, uri, piece) : matchText(made, uri, piece);
  return made[uri.length] === 1;
}

function matchExpression(
  made: Uint8Array,
  uri: string,
  { slashes, mayBeEmpty }: { readonly slashes: boolean; readonly mayBeEmpty: boolean },
): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(made.length);
  let isInside = false;
  for (let end = 0; end < made.length; end += 1) {
    if (end > 0) isInside = (isInside || made[end - 1] === 1) && (slashes || uri.charCodeAt(end - 1) !== SLASH);
    if (isInside || (mayBeEmpty && made[end] === 1)) next[end] = 1;
  }
  return next;
}

function matchText(
  made: Uint8Array,
  uri: string,
  { text, jumps }: { readonly text: string; readonly jumps: Uint16Array },
): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(made.length);
  let matched = 0;
  for (let at = 0; at < uri.length; at += 1) {
    while (matched > 0 && uri[at] !== text[matched]) matched = jumps[matched - 1] as number;
    if (uri[at] === text[matched]) matched += 1;
    if (matched !== text.length) continue;
    if (made[at + 1 - text.length] === 1) next[at + 1] = 1;
    matched = jumps[matched - 1] as number;
  }
  return next;
}

/** Returns, for each prefix of the text, the length of its longest proper suffix that is also a prefix. */
function failureTable(text: string): Uint16Array {
  const jumps = new Uint16Array(text.length);
  let length = 0;
  for (let at = 1; at < text.length; at += 1) {
    while (length > 0 && text[at] !== text[length]) length = jumps[length - 1] as number;
    if (text[at] === text[length]) length += 1;
    jumps[at] = length;
  }
  return jumps;
}

/**
 * Whether a URI can have come from a URI template (RFC 6570, levels 1 to 3): every expression stands for one or more characters, `{?…}` and
 * `{&…}` also for none; a slash is only in `{+…}`, `{#…}` and `{/…}`.
 * Promises: linear in the URI for each piece of the template, whatever they are: no pattern of a server's making is run as a regular
 * expression; templates with more than 16 expressions or a brace out of place fit nothing.
 * Does not: find the variables' values; the server does.
 */
const EXPRESSIONS = 16;
const SLASH = 0x2f;

/** A fixed text with the table of its own beginnings (Knuth, Morris, Pratt), or a gap. */
type Piece =
  | { readonly text: string; readonly jumps: Uint16Array }
  | { readonly text: undefined; readonly slashes: boolean; readonly mayBeEmpty: boolean };

export interface UriTemplate {
  readonly pieces: readonly Piece[];
  /** Characters outside of expressions: of two templates that fit, the one with more of them says more. */
  readonly fixed: number;
}

/** Undefined = it fits nothing. `template` is at most 65,535 characters. */
export function compileTemplate(template: string): UriTemplate | undefined {
  const pieces: Piece[] = []; // bounded by: EXPRESSIONS
  let fixed = 0;
  let at = 0;
  for (let count = 0; ; count += 1) {
    const open = template.indexOf('{', at);
    const text = template.slice(at, open < 0 ? undefined : open);
    if (text.includes('}')) return undefined;
    if (text !== '') pieces.push({ text, jumps: jumpsOf(text) });
    fixed += text.length;
    if (open < 0) return { pieces, fixed };
    const close = template.indexOf('}', open);
    const inside = template.slice(open + 1, close);
    if (close < 0 || count === EXPRESSIONS || inside === '' || inside.includes('{')) return undefined;
    pieces.push({
      text: undefined,
      slashes: '+#/'.includes(inside.charAt(0)),
      mayBeEmpty: '?&'.includes(inside.charAt(0)),
    });
    at = close + 1;
  }
}

/** The fixed text that every URI of a template begins with; '' = it may begin with anything. */
export function prefixOf({ pieces: [first] }: UriTemplate): string {
  return first?.text ?? '';
}

/** Work that `fitsTemplate` does at most, in characters looked at. */
export function costOf({ pieces }: UriTemplate, uri: string): number {
  return pieces.length * (uri.length + 1);
}

/** Cheap, and says no to nearly all. */
export function beginsLike({ pieces: [first] }: UriTemplate, uri: string): boolean {
  return first?.text === undefined || uri.startsWith(first.text);
}

export function fitsTemplate({ pieces }: UriTemplate, uri: string): boolean {
  // Which lengths of the URI the pieces so far can make up.
  let made = new Uint8Array(uri.length + 1);
  made[0] = 1;
  for (const piece of pieces)
    made = piece.text === undefined ? afterGap(made, uri, piece) : afterText(made, uri, piece);
  return made[uri.length] === 1;
}

function afterGap(
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

function afterText(
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

/** For each beginning of the text: how long its longest end is that is a beginning too. */
function jumpsOf(text: string): Uint16Array {
  const jumps = new Uint16Array(text.length);
  let length = 0;
  for (let at = 1; at < text.length; at += 1) {
    while (length > 0 && text[at] !== text[length]) length = jumps[length - 1] as number;
    if (text[at] === text[length]) length += 1;
    jumps[at] = length;
  }
  return jumps;
}

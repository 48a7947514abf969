/**
 * Finds the regular expressions of a source file and the texts on which a careless one takes quadratic or exponential
 * time. Each repeated part gets the text that leads to it, long runs of the characters that it tells apart, and an end
 * that makes the match fail.
 */
import { createContext, Script } from 'node:vm';
import { placeOf, type SourceFile } from './_tree.ts';

export interface FoundRegexp {
  /** `path:line`. */
  readonly place: string;
  readonly source: string;
  readonly flags: string;
}

export function regexpsIn(file: SourceFile): FoundRegexp[] {
  const found: FoundRegexp[] = [];
  const shebang = file.text.startsWith('#!') ? file.text.indexOf('\n') : 0;
  for (let at = file.bare.indexOf('/', shebang); at >= 0; at = file.bare.indexOf('/', at + 1)) {
    if (file.bare[at + 1] === file.code[at + 1]) continue;
    const end = file.bare.indexOf('/', at + 1);
    const flags = /^[a-z]*/.exec(file.bare.slice(end + 1))?.[0] ?? '';
    found.push({ place: placeOf(file, at), source: file.text.slice(at + 1, end), flags });
    at = end;
  }
  return found;
}

/** Long enough that quadratic time is 40 ms or more and linear time stays far below 1 ms. */
const RUN = 8192;
const MAX_PUMPS = 8;
/** Of these also pairs are repeated. */
const MAX_PAIRED = 4;
const ENDS = ['', '\u0001', '!', 'x', '\n'];

/** Texts that are tried under one time limit: each limit is a thread of its own, which costs more than the match. */
const TOGETHER = 16;
/** So many that take no longer than this together hold no slow one, ms. */
const FAST_MS = 10;

/**
 * The slowest hostile text for this expression, ms of CPU time, the best of a few runs; `timeoutMs` cuts exponential
 * ones. Texts that are fast together are not timed one by one.
 */
export function slowestMs(
  { source, flags }: FoundRegexp,
  timeoutMs = 1000,
): { readonly ms: number; readonly text: string } {
  const regexp = new RegExp(source, flags);
  let slowest = { ms: 0, text: '' };
  const texts = [...hostileTexts(regexp)];
  for (let at = 0; at < texts.length; at += TOGETHER) {
    const some = texts.slice(at, at + TOGETHER);
    if (timeOf(regexp, some, timeoutMs) <= FAST_MS) continue;
    for (const text of some) {
      let ms = timeOf(regexp, [text], timeoutMs);
      // The first run compiles it, and a busy machine makes single runs long.
      for (let again = 0; again < 3 && ms > slowest.ms && ms > 1 && ms < timeoutMs; again += 1)
        ms = Math.min(ms, timeOf(regexp, [text], timeoutMs));
      if (ms > slowest.ms) slowest = { ms, text };
      if (ms >= timeoutMs) return slowest;
    }
  }
  return slowest;
}

const REPLACE = new Script('for (const text of texts) text.replace(regexp, "")');
const GLOBALS = createContext({ texts: [], regexp: /x/ });

/**
 * The time limit is of the wall clock: where the thread got less than half of it, the machine was busy, and it is
 * measured again.
 */
function timeOf(regexp: RegExp, texts: readonly string[], timeoutMs: number, tries = 3): number {
  Object.assign(GLOBALS, { texts, regexp });
  const before = process.threadCpuUsage();
  let isCut = false;
  try {
    REPLACE.runInContext(GLOBALS, { timeout: timeoutMs });
  } catch {
    isCut = true;
  }
  const { user, system } = process.threadCpuUsage(before);
  const usedMs = (user + system) / 1000;
  if (!isCut) return usedMs;
  return usedMs < timeoutMs / 2 && tries > 1 ? timeOf(regexp, texts, timeoutMs, tries - 1) : timeoutMs;
}

export function* hostileTexts(regexp: RegExp): Generator<string> {
  const { source, flags } = regexp;
  const chars = groupsOf(source, flags);
  const starts = new Set(['', 'x', ...startsOf(source)]);
  const pumps = [
    ...chars,
    ...chars.slice(0, MAX_PAIRED).flatMap((a) =>
      chars
        .slice(0, MAX_PAIRED)
        .filter((b) => b !== a)
        .map((b) => a + b),
    ),
  ];
  for (const start of starts) {
    for (const pump of pumps) {
      const body = pump.repeat(RUN / pump.length);
      for (const end of ENDS) yield start + body + end;
    }
    if (start !== '') {
      const many = start.repeat(Math.ceil(RUN / start.length));
      for (const end of ENDS) yield many + end;
    }
  }
}

const CANDIDATES = [
  ...Array.from({ length: 128 }, (_, code) => String.fromCharCode(code)),
  'é',
  '한',
  '\u202e',
  '\u2028',
];

/** One character for each way in which the expression's atoms tell characters apart. */
function groupsOf(source: string, flags: string): string[] {
  const atoms = atomsOf(source).map((atom) => new RegExp(`^(?:${atom})$`, flags.replace(/[gy]/g, '')));
  const groups = new Map<string, string>();
  for (const char of CANDIDATES) {
    const key = atoms.map((atom) => (atom.test(char) ? '1' : '0')).join('');
    if (key.includes('1') && !groups.has(key)) groups.set(key, char);
  }
  // Those that match most atoms are the ones that overlap.
  const score = (key: string): number => [...key].filter((bit) => bit === '1').length;
  return [...groups]
    .sort(([a], [b]) => score(b) - score(a))
    .map(([, char]) => char)
    .slice(0, MAX_PUMPS);
}

/** Single-character atoms of the source: classes, escapes, the dot and plain letters. */
function atomsOf(source: string): string[] {
  return [
    ...new Set(
      pieces(source)
        .filter((piece) => piece.kind === 'atom')
        .map((piece) => piece.text),
    ),
  ];
}

/** Texts that match what stands before each repeated part, as far as one sample of each atom does. */
function startsOf(source: string): string[] {
  const starts: string[] = [];
  let sample = '';
  const outer: string[] = [];
  const all = pieces(source);
  all.forEach((piece, at) => {
    if (piece.kind === 'open') outer.push(sample);
    else if (piece.kind === 'or') sample = outer.at(-1) ?? '';
    else if (piece.kind === 'close') outer.pop();
    else if (piece.kind === 'atom') {
      const next = all[at + 1];
      const mayBeAbsent = next?.kind === 'times' && /^[*?]|^\{0/.test(next.text);
      if (next?.kind === 'times') starts.push(sample);
      if (!mayBeAbsent) sample += sampleOf(piece.text);
    }
  });
  return starts.filter((start, at) => starts.indexOf(start) === at).slice(0, MAX_PUMPS);
}

function sampleOf(atom: string): string {
  const matches = new RegExp(`^(?:${atom})$`, atom.includes('\\p') ? 'u' : '');
  return (
    CANDIDATES.slice(0x30).find((char) => matches.test(char)) ?? CANDIDATES.find((char) => matches.test(char)) ?? ''
  );
}

interface Piece {
  readonly kind: 'atom' | 'times' | 'open' | 'close' | 'or' | 'anchor';
  readonly text: string;
}

function pieces(source: string): Piece[] {
  const found: Piece[] = [];
  const token =
    /(\\b|\\B|\^|\$)|(\((?:\?(?:[:=!]|<[=!]|<\w+>))?)|(\))|(\|)|([*+?]\??|\{\d+(?:,\d*)?\}\??)|(\[(?:\\[\s\S]|[^\]\\])*\]|\\[pP]\{[^}]*\}|\\u\{[^}]*\}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[\s\S]|[\s\S])/g;
  const kinds = ['anchor', 'open', 'close', 'or', 'times', 'atom'] as const;
  for (const match of source.matchAll(token)) {
    const at = match.slice(1).findIndex((part) => part !== undefined);
    // A back reference matches what a group did; as an atom it means nothing.
    if (/^\\[1-9]/.test(match[0])) continue;
    found.push({ kind: kinds[at] ?? 'atom', text: match[0] });
  }
  return found;
}

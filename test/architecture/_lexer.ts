/**
 * Blanks comments and strings of TypeScript, so that a law looks at code only.
 * Promises: the result has the same length and the same lines; template expressions stay code.
 * Does not: parse. Where a slash could be a division or a regular expression it goes by what stands before it.
 */
export interface Blanked {
  /** Comments blanked. */
  readonly code: string;
  /** Comments and the insides of strings, templates and regular expressions blanked. */
  readonly bare: string;
}

type Cover = 'comment' | 'text';

export function blank(text: string): Blanked {
  const code = [...text.split('')];
  const bare = [...code];
  const cover = (from: number, to: number, kind: Cover): void => {
    for (let i = from; i < to; i += 1) {
      if (text[i] === '\n') continue;
      bare[i] = ' ';
      if (kind === 'comment') code[i] = ' ';
    }
  };
  let at = 0;
  /** Brace depths at which a template expression ends. */
  const templates: number[] = [];
  let depth = 0;
  let before = '';
  while (at < text.length) {
    const end = endOfToken(text, at, before);
    const first = text[at] ?? '';
    if (text.startsWith('//', at) || text.startsWith('/*', at)) cover(at, end, 'comment');
    else if (first === '"' || first === "'" || (first === '/' && end > at + 1)) {
      cover(at + 1, end - 1, 'text');
      before = first;
    } else if (first === '`' || (first === '}' && templates.at(-1) === depth)) {
      if (first === '}') templates.pop();
      const stop = endOfTemplatePart(text, at + 1);
      cover(at + 1, stop, 'text');
      if (text.startsWith('${', stop)) {
        templates.push(depth);
        at = stop + 2;
      } else at = stop + 1;
      before = '`';
      continue;
    } else {
      if (first === '{') depth += 1;
      if (first === '}') depth -= 1;
      if (first.trim() !== '') before = text.slice(at, end);
    }
    at = end;
  }
  return { code: code.join(''), bare: bare.join('') };
}

function endOfToken(text: string, at: number, before: string): number {
  const first = text[at] ?? '';
  if (text.startsWith('//', at)) return orEnd(text.indexOf('\n', at), text);
  if (text.startsWith('/*', at)) return orEnd(text.indexOf('*/', at + 2), text, 2);
  if (first === '"' || first === "'") return endOfQuoted(text, at);
  if (first === '/' && startsRegex(before)) return endOfRegex(text, at);
  const word = /[\w$]+/y;
  word.lastIndex = at;
  return word.exec(text) ? word.lastIndex : at + 1;
}

function startsRegex(before: string): boolean {
  if (before === '') return true;
  return /^(return|typeof|case|in|of|delete|void|await|yield)$/.test(before) || /^[^\w$)\]}"'`/]$/.test(before);
}

function endOfQuoted(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === text[at] || text[i] === '\n') return i + 1;
  }
  return text.length;
}

function endOfRegex(text: string, at: number): number {
  let inClass = false;
  for (let i = at + 1; i < text.length; i += 1) {
    const char = text[i];
    if (char === '\\') i += 1;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '\n') return at + 1;
    else if (char === '/' && !inClass) return i + 1;
  }
  return text.length;
}

function endOfTemplatePart(text: string, from: number): number {
  for (let i = from; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '`' || text.startsWith('${', i)) return i;
  }
  return text.length;
}

function orEnd(index: number, text: string, plus = 0): number {
  return index < 0 ? text.length : index + plus;
}

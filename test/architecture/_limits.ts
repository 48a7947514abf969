/**
 * How code uses the limits: never writes them, never copies them whole, and does not keep the value of one that applies
 * at once where it is read only once, in a constructor or in a function that creates a module.
 */
import { LIMITS, type LimitName } from '../../src/config/limits.ts';
import { placeOf, type SourceFile } from './_tree.ts';

const WRITE = /\blimits\s*(?:\.\s*\w+|\[[^\]]*\])\s*(?:[-+*/%&|^]|\*\*|<<|>>>?|&&|\|\||\?\?)?=(?![=>])/g;
const ASSIGN =
  /\b(?:Object\s*\.\s*(?:assign|defineProperty|defineProperties|setPrototypeOf)\s*\(\s*(?:[\w.#]*[.#])?limits\b|delete\s+(?:[\w.#]*[.#])?limits\b)/g;
/** A copy has none of the members: they are accessors of a prototype. */
const COPY =
  /(?:\.\.\.\s*(?:[\w.#]*[.#])?limits\b(?!\s*[.?[(])|\b(?:structuredClone|JSON\s*\.\s*stringify|Object\s*\.\s*(?:entries|keys|values))\s*\(\s*(?:[\w.#]*[.#])?limits\b(?!\s*[.?[(]))/g;
const MEMBER = /(?<![\w$])#?limits\s*\.\s*(\w+)/g;
const MEMBERS = /\{([^{}]*)\}\s*=\s*(?:[\w.#]*[.#])?limits\b(?!\s*[.?[(])/g;

/** Writes to limits, and copies of all of them. */
export function changedLimits(file: SourceFile): string[] {
  return [WRITE, ASSIGN, COPY].flatMap((pattern) =>
    [...file.bare.matchAll(pattern)].map((match) => `${placeOf(file, match.index)} ${match[0].trim()}`),
  );
}

/** Reads of limits that apply at once, in places that run once; as `file name`. */
export function keptLimits(file: SourceFile): string[] {
  const { bare } = file;
  const read = [...bare.matchAll(MEMBER)].map(({ index, 1: name = '' }) => ({ index, name }));
  const taken = [...bare.matchAll(MEMBERS)].flatMap(({ index, 1: names = '' }) =>
    names.split(',').map((name) => ({ index, name: name.split(':')[0]?.trim() ?? '' })),
  );
  return [...read, ...taken]
    .filter(({ name }) => Object.hasOwn(LIMITS, name) && LIMITS[name as LimitName].applies === 'live')
    .filter(({ index }) => runsOnce(bare, index))
    .map(({ name }) => `${file.path} ${name}`);
}

const OPENING = new Set(['(', '[', '{']);
const CLOSING = new Set([')', ']', '}']);

/** Tells whether the code at `at` runs directly in a constructor, a class body or a function `create…` or `watch…`. */
function runsOnce(code: string, at: number): boolean {
  let depth = 0;
  let isCovered = true;
  for (let i = at - 1; i >= 0; i -= 1) {
    const char = code[i] ?? '';
    if (CLOSING.has(char)) depth += 1;
    else if (OPENING.has(char)) {
      if (depth > 0) depth -= 1;
      else {
        isCovered = true;
        const kind = char === '{' ? kindOf(headerBefore(code, i)) : 'inside';
        if (kind !== 'inside') return kind === 'once';
      }
    } else if (depth === 0 && (char === ',' || char === ';')) isCovered = false;
    // A function without braces.
    else if (depth === 0 && isCovered && char === '>' && code[i - 1] === '=') return false;
  }
  return false;
}

/** What stands before an opening brace, back to the end of the statement or block before it. */
function headerBefore(code: string, brace: number): string {
  let depth = 0;
  let i = brace - 1;
  for (; i >= 0; i -= 1) {
    const char = code[i] ?? '';
    if (depth === 0 && (char === ';' || char === '{')) break;
    // The braces of a type belong to the header, those of a block end it.
    if (depth === 0 && char === '}' && !/^\s*(?:\)|$|\|)/.test(code.slice(i + 1, brace).replace(/>|\[\]/g, ''))) break;
    if (CLOSING.has(char)) depth += 1;
    if (OPENING.has(char)) {
      if (depth === 0) break;
      depth -= 1;
    }
  }
  return code.slice(i + 1, brace).trim();
}

function kindOf(header: string): 'once' | 'later' | 'inside' {
  if (header.endsWith('=>')) return 'later';
  if (/^(?:if|for|while|else|try|catch|finally|switch|do)\b|(?:[=(,:?&|[]|\breturn|^)$/.test(header)) return 'inside';
  if (/\bconstructor\s*\(|\bclass\b|\bfunction\s+(?:create|watch)\w*/.test(header)) return 'once';
  return 'later';
}

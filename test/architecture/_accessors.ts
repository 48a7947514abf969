/**
 * Accessors (`get`, `set`) in object literals of the modules that handle requests. Each such object gets a hidden class
 * of its own, and code that meets many of them is not optimised: one in the data of a request took 14 µs a call
 * (measured).
 */
import { placeOf, type SourceFile } from './_tree.ts';

const ACCESSOR = /(?<=[{,;}]\s*)(?:get|set)\s+(?:[#\w$]+|\[[^\]]*\])\s*\(/g;
/** What opens the body of a class. */
const CLASS = /\bclass\b[^{};]*$/;
const MODULES: ReadonlySet<string> = new Set(['downstream', 'call']);

export function literalAccessors(file: SourceFile): string[] {
  if (!MODULES.has(file.room)) return [];
  return [...file.bare.matchAll(ACCESSOR)]
    .filter(({ index }) => !CLASS.test(file.bare.slice(0, openingBrace(file.bare, index))))
    .map((match) => `${placeOf(file, match.index)} an accessor in an object literal: use a class`);
}

/** The brace that the code at `at` stands in. */
function openingBrace(code: string, at: number): number {
  let depth = 0;
  for (let i = at - 1; i >= 0; i -= 1) {
    if (code[i] === '}') depth += 1;
    else if (code[i] === '{') {
      if (depth === 0) return i;
      depth -= 1;
    }
  }
  return 0;
}

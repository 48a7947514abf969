/**
 * Finds functions and their lengths in code without strings and comments.
 * Promises: sees declarations, methods, getters and arrow functions with a body in braces; a function contains those in
 * it.
 */

export interface FoundFunction {
  /** Line of its opening brace, from 1. */
  readonly line: number;
  /** From the opening to the closing brace. */
  readonly lines: number;
}

/** Words before parentheses that begin no function. */
const STATEMENTS: ReadonlySet<string> = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'await']);
const PARAMETERS_END = /\)\s*(?::[^(){};=]*(?:\{[^{}()=]*\}[^(){};=]*)?)?\s*$/;

/** `bare`: as in `SourceFile`. */
export function functionsOf(bare: string): FoundFunction[] {
  const found: FoundFunction[] = [];
  const open: { readonly line: number; readonly isFunction: boolean }[] = [];
  let line = 1;
  for (let at = 0; at < bare.length; at += 1) {
    const char = bare[at];
    if (char === '\n') line += 1;
    else if (char === '{') open.push({ line, isFunction: beginsFunction(bare.slice(Math.max(0, at - 600), at)) });
    else if (char === '}') {
      const block = open.pop();
      if (block?.isFunction) found.push({ line: block.line, lines: line - block.line + 1 });
    }
  }
  return found;
}

function beginsFunction(before: string): boolean {
  if (/=>\s*$/.test(before)) return true;
  const end = PARAMETERS_END.exec(before);
  if (!end) return false;
  let depth = 0;
  for (let at = end.index; at >= 0; at -= 1) {
    if (before[at] === ')') depth += 1;
    else if (before[at] === '(') depth -= 1;
    if (depth > 0) continue;
    const word = /([\w$#]+)\s*(?:<[^<>]*>)?\s*$/.exec(before.slice(0, at))?.[1];
    return word !== undefined && !STATEMENTS.has(word);
  }
  return false;
}

/**
 * Finds what makes a text unreadable as JSONC, before `locate.ts` converts it: nesting that is too deep, and errors of
 * syntax, each with a message and, where there is one, the expected form.
 */
import { createScanner, type ParseError, printParseErrorCode } from 'jsonc-parser';
import type { Position, SyntaxProblem } from './locate.ts';

/** Deeper than any configuration; a recursive parser fails at some thousands. */
export const MAX_DEPTH = 64;
const MAX_SYNTAX_PROBLEMS = 20;

/** Token kinds of jsonc-parser, which exports the enum as a type only. */
const OPEN_BRACE = 1;
const CLOSE_BRACE = 2;
const OPEN_BRACKET = 3;
const CLOSE_BRACKET = 4;
const END = 17;

/** Returns the offset at which the nesting exceeds `MAX_DEPTH`; undefined = it does not. */
export function offsetOfTooDeep(text: string): number | undefined {
  const scanner = createScanner(text, true);
  let depth = 0;
  for (let token: number = scanner.scan(); token !== END; token = scanner.scan()) {
    if (token === OPEN_BRACE || token === OPEN_BRACKET) depth += 1;
    else if (token === CLOSE_BRACE || token === CLOSE_BRACKET) depth -= 1;
    if (depth > MAX_DEPTH) return scanner.getTokenOffset();
  }
  return undefined;
}

const SYNTAX_WORDS: Readonly<Record<string, readonly [message: string, expected: string | undefined]>> = {
  InvalidSymbol: ['is not JSON', 'a text in double quotes, a number, true, false, null, { or ['],
  InvalidNumberFormat: ['is not a number in JSON', undefined],
  PropertyNameExpected: ['a key is missing here', 'a key in double quotes'],
  ValueExpected: ['a value is missing here', undefined],
  ColonExpected: ['a colon is missing here', ':'],
  CommaExpected: ['a comma is missing before this', ','],
  CloseBraceExpected: ['a brace is not closed', '}'],
  CloseBracketExpected: ['a bracket is not closed', ']'],
  EndOfFileExpected: ['there is content after the end of the configuration', undefined],
  UnexpectedEndOfComment: ['a comment is not closed', '*/'],
  UnexpectedEndOfString: ['a text is not closed', '"'],
  UnexpectedEndOfNumber: ['a number is not complete', undefined],
  InvalidUnicode: ['is not a complete \\u escape', '\\u and four hex digits'],
  InvalidEscapeCharacter: ['is not an escape of JSON', 'one of \\" \\\\ \\/ \\b \\f \\n \\r \\t \\u'],
  InvalidCharacter: ['a character that JSON does not allow in a text', 'an escape such as \\n or \\t'],
};

/** Keeps one error per line, because a parser that recovers reports the same error several times. */
export function syntaxProblems(
  text: string,
  faults: readonly ParseError[],
  place: (offset: number) => Position,
): SyntaxProblem[] {
  if (text.trim() === '') {
    return [{ line: 1, column: 1, path: [], message: 'the file is empty', expected: '{ "mcpServers": { … } }' }];
  }
  const byLine = new Map<number, SyntaxProblem>(); // bounded by: MAX_SYNTAX_PROBLEMS
  for (const { error, offset } of faults) {
    const position = place(offset);
    if (byLine.has(position.line) || byLine.size >= MAX_SYNTAX_PROBLEMS) continue;
    const [message, expected] = SYNTAX_WORDS[printParseErrorCode(error)] ?? ['is not JSON', undefined];
    byLine.set(position.line, { ...position, path: [], message, expected });
  }
  if (byLine.size === 0) return [{ line: 1, column: 1, path: [], message: 'there is no value in it', expected: '{' }];
  return [...byLine.values()];
}

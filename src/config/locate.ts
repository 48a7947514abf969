/**
 * Parses JSONC (comments, trailing commas, a byte order mark) into plain values with the line and column of each.
 * Guarantees: never throws; deep nesting is an error, not a stack overflow; a duplicate key in one object is an error
 * (JSON.parse would take the last one); objects have no prototype.
 */
import { createScanner, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';

/** 1-based, as editors count. */
/** Names and indexes from the root of the file to a value. */
export type ConfigPath = readonly (string | number)[];

export interface Position {
  readonly line: number;
  readonly column: number;
}

/** The part of a property that a position refers to: its name or its value. */
export type At = 'key' | 'value';

export interface SyntaxProblem extends Position {
  readonly path: ConfigPath;
  readonly message: string;
  readonly expected: string | undefined;
}

export interface JsoncText {
  /** Undefined when there are syntax errors. */
  readonly value: unknown;
  readonly syntax: readonly SyntaxProblem[];
  /** Duplicate keys and `__proto__`; the value does not contain them. */
  readonly keys: readonly SyntaxProblem[];
  /** Returns the position of a path, or of its nearest existing parent. */
  positionOf(path: ConfigPath, at: At): Position;
}

/** Deeper than any configuration; a recursive parser fails at some thousands. */
const MAX_DEPTH = 64;
const MAX_SYNTAX_PROBLEMS = 20;

export function readJsonc(source: string): JsoncText {
  const text = source.startsWith('\ufeff') ? source.slice(1) : source;
  const place = placer(text);
  const tooDeepAt = offsetOfTooDeep(text);
  if (tooDeepAt !== undefined) {
    const message = `is nested more than ${MAX_DEPTH} levels deep`;
    return unreadable([{ ...place(tooDeepAt), path: [], message, expected: undefined }]);
  }
  const faults: ParseError[] = [];
  const root = parseTree(text, faults, { allowTrailingComma: true, disallowComments: false });
  if (faults.length > 0 || root === undefined) return unreadable(syntaxProblems(text, faults, place));
  const keys: SyntaxProblem[] = [];
  const value = plainValue(root, [], { place, keys });
  const propertyOf = propertyIndex();
  return { value, syntax: [], keys, positionOf: (path, at) => place(nodeAt(root, path, { at, propertyOf }).offset) };
}

function unreadable(syntax: readonly SyntaxProblem[]): JsoncText {
  const first = syntax[0] ?? { line: 1, column: 1 };
  return { value: undefined, syntax, keys: [], positionOf: () => ({ line: first.line, column: first.column }) };
}

/** Returns a function that converts offsets to lines and columns. */
function placer(text: string): (offset: number) => Position {
  const starts = [0];
  for (const found of text.matchAll(/\r\n|\n|\r/g)) starts.push(found.index + found[0].length);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] as number) + 1 };
  };
}

/** Token kinds of jsonc-parser, which exports the enum as a type only. */
const OPEN_BRACE = 1;
const CLOSE_BRACE = 2;
const OPEN_BRACKET = 3;
const CLOSE_BRACKET = 4;
const END = 17;

function offsetOfTooDeep(text: string): number | undefined {
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
function syntaxProblems(
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

interface Walk {
  readonly place: (offset: number) => Position;
  readonly keys: SyntaxProblem[]; // bounded by: the file
}

function plainValue(node: Node, path: ConfigPath, walk: Walk): unknown {
  if (node.type === 'array') return (node.children ?? []).map((child, at) => plainValue(child, [...path, at], walk));
  if (node.type !== 'object') return node.value;
  const value = Object.create(null) as Record<string, unknown>;
  const lines = new Map<string, number>(); // bounded by: the file
  for (const property of node.children ?? []) {
    const [keyNode, valueNode] = property.children ?? [];
    if (keyNode === undefined || valueNode === undefined) continue;
    const key = String(keyNode.value);
    const position = walk.place(keyNode.offset);
    const first = lines.get(key);
    if (key === '__proto__') {
      walk.keys.push({ ...position, path: [...path, key], message: 'this name is not allowed', expected: undefined });
    } else if (first !== undefined) {
      const message = `occurs twice in the same object, first on line ${first}`;
      walk.keys.push({ ...position, path: [...path, key], message, expected: 'one of the two' });
    } else {
      lines.set(key, position.line);
      value[key] = plainValue(valueNode, [...path, key], walk);
    }
  }
  return value;
}

type PropertyOf = (node: Node, key: string) => Node | undefined;

/** Returns a look-up of properties by name; an object of thousands is indexed once. */
function propertyIndex(): PropertyOf {
  const known = new WeakMap<Node, ReadonlyMap<string, Node>>();
  return (node, key) => {
    let properties = known.get(node);
    if (properties === undefined) {
      // Reversed, so that the first of two equal keys stays.
      const pairs = (node.children ?? []).map((child): [string, Node] => [String(child.children?.[0]?.value), child]);
      properties = new Map(pairs.reverse());
      known.set(node, properties);
    }
    return properties.get(key);
  };
}

function nodeAt(root: Node, path: ConfigPath, { at, propertyOf }: { at: At; propertyOf: PropertyOf }): Node {
  let node = root;
  for (const [depth, key] of path.entries()) {
    const isLast = depth === path.length - 1;
    if (typeof key === 'number') {
      const element = node.type === 'array' ? node.children?.[key] : undefined;
      if (element === undefined) return node;
      node = element;
      continue;
    }
    const property = node.type === 'object' ? propertyOf(node, key) : undefined;
    const [keyNode, valueNode] = property?.children ?? [];
    if (keyNode === undefined || valueNode === undefined) return node;
    if (isLast && at === 'key') return keyNode;
    node = valueNode;
  }
  return node;
}

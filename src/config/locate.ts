/**
 * Parses JSONC (comments, trailing commas, a byte order mark) into plain values with the line and column of each.
 * Guarantees: never throws; deep nesting is an error, not a stack overflow; a duplicate key in one object is an error
 * (JSON.parse would take the last one); objects have no prototype.
 */
import { type Node, type ParseError, parseTree } from 'jsonc-parser';
import { MAX_DEPTH, offsetOfTooDeep, syntaxProblems } from './_jsonc-syntax.ts';

/** Names and indexes from the root of the file to a value. */
export type ConfigPath = readonly (string | number)[];

/** 1-based, as editors count. */
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

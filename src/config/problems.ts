/**
 * Describes errors in a configuration for people: where, what, and what was expected. The files that read a part of the
 * configuration add them here.
 * Guarantees: values of `env`, `headers`, `url` and `args` are never quoted, so messages contain no secrets; texts from
 * the file are shown without control characters.
 */
import type { At, ConfigPath, Position } from './locate.ts';

export interface ConfigProblem {
  readonly severity: 'error' | 'warning';
  /** The file, `environment` or `command line`. */
  readonly file: string;
  /** Line number from 1; 0 when the problem has no position in a file. */
  readonly line: number;
  readonly column: number;
  /** For example `mcpServers.github.args[2]`, or the name of a variable or flag; may be empty. */
  readonly path: string;
  readonly message: string;
  readonly expected: string | undefined;
}

/** Maximum problems kept per severity; further ones are only counted. */
const MAX_PROBLEMS = 200;

/** Collects the problems of one file with their positions. */
export class Problems {
  readonly file: string;
  readonly #positionOf: (path: ConfigPath, at: At) => Position;
  readonly #list: ConfigProblem[] = []; // bounded by: MAX_PROBLEMS of each severity
  #errors = 0;
  #warnings = 0;
  #left = 0;

  constructor(file: string, positionOf: (path: ConfigPath, at: At) => Position) {
    this.file = file;
    this.#positionOf = positionOf;
  }

  get errors(): number {
    return this.#errors;
  }

  /** True when further errors are only counted, so their messages need not be built. */
  get isFull(): boolean {
    return this.#errors >= MAX_PROBLEMS;
  }

  /** Returns all problems in the order of the file. */
  list(): readonly ConfigProblem[] {
    const sorted = this.#list.toSorted((a, b) => a.line - b.line || a.column - b.column);
    if (this.#left === 0) return sorted;
    const message = `and ${this.#left} more problems`;
    return [
      ...sorted,
      { severity: 'warning', file: this.file, line: 0, column: 0, path: '', message, expected: undefined },
    ];
  }

  error(path: ConfigPath, message: string, expected?: string, at: At = 'value'): void {
    this.add(this.#placed('error', path, { message, expected, at }));
  }

  warning(path: ConfigPath, message: string, expected?: string, at: At = 'value'): void {
    this.add(this.#placed('warning', path, { message, expected, at }));
  }

  add(problem: ConfigProblem): void {
    const before = problem.severity === 'error' ? this.#errors++ : this.#warnings++;
    if (before < MAX_PROBLEMS) this.#list.push(problem);
    else this.#left += 1;
  }

  #placed(
    severity: ConfigProblem['severity'],
    path: ConfigPath,
    { message, expected, at }: { message: string; expected: string | undefined; at: At },
  ): ConfigProblem {
    const { line, column } = this.#positionOf(path, at);
    return { severity, file: this.file, line, column, path: pathText(path), message, expected };
  }
}

const PLAIN_KEY = /^[\p{L}\p{N}_$@-]+$/u;

/** Returns a path as text, such as `mcpServers.github.args[2]`; keys that are not plain words are quoted. */
export function pathText(path: ConfigPath): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else if (PLAIN_KEY.test(key) && key.length <= MAX_QUOTED) text += text === '' ? key : `.${key}`;
    else text += `[${quoted(key)}]`;
  }
  return text;
}

const MAX_QUOTED = 80;

/** Returns a text of the file in quotes, cut at 80 characters, without terminal control characters. */
export function quoted(text: string): string {
  const cut = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 1)}…` : text;
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Returns one line per problem: `file:line:column  error  path  message (expected …)`. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  return problems.map(formatProblem).join('\n');
}

function formatProblem({ severity, file, line, column, path, message, expected }: ConfigProblem): string {
  const place = line > 0 ? `${file}:${line}:${column}` : file;
  const parts = [place, severity, path, expected === undefined ? message : `${message} (expected ${expected})`];
  return parts.filter((part) => part !== '').join('  ');
}

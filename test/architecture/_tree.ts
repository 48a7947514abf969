/**
 * The source tree as the architecture tests see it: files with their imports, read once a test file.
 * Promises: paths are relative to `src/` with forward slashes; tests are left out.
 */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { blank } from './_lexer.ts';

export interface Import {
  /** As written: `node:net`, `../kernel/waits.ts`. */
  readonly from: string;
  /** Names between the braces, less those marked `type`; `*` for a namespace or side effect. */
  readonly names: readonly string[];
  /** `import type`: erased, loads nothing. */
  readonly typeOnly: boolean;
  /** Path within `src/` for a relative import. */
  readonly target: string | undefined;
}

export interface SourceFile {
  readonly path: string;
  /** First folder: its room. */
  readonly room: string;
  readonly text: string;
  readonly code: string;
  readonly bare: string;
  readonly lines: readonly string[];
  readonly bareLines: readonly string[];
  readonly imports: readonly Import[];
}

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

export function readTree(): SourceFile[] {
  return globSync('**/*.ts', { cwd: `${ROOT}src` })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => !path.endsWith('.test.ts'))
    .sort()
    .map((path) => sourceFile(path, readFileSync(`${ROOT}src/${path}`, 'utf8')));
}

export function sourceFile(path: string, text: string): SourceFile {
  const { code, bare } = blank(text);
  return {
    path,
    room: path.split('/')[0] ?? '',
    text,
    code,
    bare,
    lines: text.split('\n'),
    bareLines: bare.split('\n'),
    imports: importsOf(path, code),
  };
}

const STATIC = /(?:^|[;\n])\s*(?:import|export)\s+(type\s+)?(?:([\w$*{][^'"`;=()]*?)\s*from\s*)?(['"])([^'"\n]+)\3/g;
const DYNAMIC = /\bimport\s*\(\s*(['"])([^'"\n]+)\1/g;

function importsOf(path: string, code: string): Import[] {
  const found: Import[] = [];
  for (const [, typed, clause, , from] of code.matchAll(STATIC)) {
    if (from)
      found.push({ from, names: namesIn(clause ?? '*'), typeOnly: typed !== undefined, target: targetOf(path, from) });
  }
  for (const [, , from] of code.matchAll(DYNAMIC)) {
    if (from) found.push({ from, names: ['*'], typeOnly: false, target: targetOf(path, from) });
  }
  return found;
}

function namesIn(clause: string): string[] {
  return clause
    .replaceAll(/[{}]/g, ',')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && !name.startsWith('type '))
    .map((name) => (name.startsWith('*') ? '*' : (name.split(/\s+as\s+/)[0] ?? name)));
}

function targetOf(path: string, from: string): string | undefined {
  if (!from.startsWith('.')) return undefined;
  return new URL(from, `file:///${path}`).pathname.slice(1);
}

/** Where in the text: `path:line`. */
export function placeOf(file: SourceFile, index: number): string {
  return `${file.path}:${file.text.slice(0, index).split('\n').length}`;
}

/** A snippet as a file, for showing that a law can fail. */
export function snippet(text: string, path = 'call/snippet.ts'): SourceFile {
  return sourceFile(path, text);
}

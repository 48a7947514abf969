/**
 * The documents of the repository as data: headings, fenced blocks with their marks, links, and prose without code.
 * The mark: `<!-- test: run -->` on the line before a fenced block (after `run` may come `exit=<code>` and `stopped`),
 * and `<!-- test: prints -->` before the block with what it prints, where `…` stands for anything. Other words are for
 * single tests.
 * Does not: run anything (`commands.test.ts`).
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/hub.ts';

export interface Block {
  readonly doc: string;
  /** Of its first line, counted from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** Words of its mark; empty = not marked. */
  readonly mark: readonly string[];
}

export interface Heading {
  readonly level: number;
  readonly text: string;
  readonly anchor: string;
}

export interface Document {
  /** From the root. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  readonly headings: readonly Heading[];
  /** The text with fenced blocks and comments blanked, line by line. */
  readonly lines: readonly string[];
}

/** What people read first, and everything in docs/. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  'README.ko.md',
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  ...globSync(['docs/**/*.md'], { cwd: ROOT }).sort(),
];

export function readDocument(path: string): Document {
  return documentFrom(path, readFileSync(join(ROOT, path), 'utf8'));
}

const FENCE = /^(\s*)```(\w*)\s*$/;
const MARK = /^\s*<!-- test: (.+?) -->\s*$/;

export function documentFrom(path: string, text: string): Document {
  const blocks: Block[] = [];
  const lines: string[] = [];
  let open: { indent: string; language: string; line: number; mark: readonly string[]; body: string[] } | undefined;
  let mark: readonly string[] = [];
  for (const [at, line] of text.split('\n').entries()) {
    const fence = FENCE.exec(line);
    if (open) {
      if (fence && fence[2] === '') {
        blocks.push({
          doc: path,
          line: open.line,
          language: open.language,
          text: open.body.join('\n'),
          mark: open.mark,
        });
        open = undefined;
      } else open.body.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
      lines.push('');
      continue;
    }
    if (fence) open = { indent: fence[1] ?? '', language: fence[2] ?? '', line: at + 1, mark, body: [] };
    mark = MARK.exec(line)?.[1]?.split(/\s+/) ?? [];
    lines.push(fence ? '' : line.replace(/<!--.*?-->/g, ''));
  }
  if (open) throw new Error(`${path}:${open.line} a block is never closed`);
  return { path, text, blocks, lines, headings: headingsIn(lines) };
}

function headingsIn(lines: readonly string[]): Heading[] {
  return lines.flatMap((line) => {
    const [, marks, text = ''] = /^(#{1,6}) (.+)$/.exec(line) ?? [];
    return marks === undefined ? [] : [{ level: marks.length, text, anchor: anchorOf(text) }];
  });
}

/** The anchor that GitHub gives a heading. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

/** Targets of links in the prose. */
export function linksIn({ lines }: Document): string[] {
  return lines.flatMap((line) =>
    [...line.replace(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)].map(([, to]) => to ?? ''),
  );
}

/** Insides of `inline code` in the prose. */
export function inlineCodeIn({ lines }: Document): string[] {
  return lines.flatMap((line) => [...line.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? ''));
}

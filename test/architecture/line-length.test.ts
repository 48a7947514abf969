/**
 * Lines end at 120 columns, as the formatter is set to. It breaks neither comments nor literals, so this rule does:
 * comments wrap, and a literal may pass the column only for a reason of `LITERALS`.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { blank } from './_lexer.ts';
import { ROOT } from './_tree.ts';

const COLUMNS = 120;
/** Columns of a line of `src` with a message: a longer sentence is joined of several literals. */
const MESSAGE_COLUMNS = 160;

/** Comments that are read line by line by a test. */
const MACHINE_READ = /^\s*(?:\*|\/\/) (?:row|case|finding|covers|runs|biome-ignore)\b/;

/** What a line contains beside code of at most 120 columns → why it may be longer. */
const LITERALS: readonly { readonly what: string; readonly why: string; readonly fits: (line: Line) => boolean }[] = [
  {
    what: 'a pattern',
    why: 'a regular expression has no line breaks',
    fits: ({ bare }) => /^\s*\/ +\/\w*[,;)]*$/.test(bare),
  },
  {
    what: 'a line of a template that spans lines',
    why: 'style sheets, pages and scripts keep their own lines',
    fits: ({ bare }) => /^\s*(?:`[)\],;}]*)?$/.test(bare),
  },
  {
    what: 'the title of a test, recorded bytes or expected text',
    why: 'the runner prints a title on one line and rows cite it; messages are compared as they travel',
    fits: ({ path }) => !path.startsWith('src/') || path.endsWith('.test.ts'),
  },
  {
    what: 'a message',
    why: 'a sentence is found by searching for it, while it is not much longer',
    fits: ({ text }) => text.length <= MESSAGE_COLUMNS,
  },
];

interface Line {
  readonly path: string;
  readonly text: string;
  /** Without comments and the insides of literals. */
  readonly bare: string;
}

/** Returns `path:line: what is wrong` of each line that is too long. */
function tooLong(path: string, text: string): string[] {
  const { code, bare } = blank(text);
  const [codeLines, bareLines] = [code.split('\n'), bare.split('\n')];
  return text.split('\n').flatMap((line, at) => {
    if (line.length <= COLUMNS) return [];
    const place = `${path}:${at + 1}`;
    const codeLine = (codeLines[at] ?? '').trimEnd();
    if (codeLine.length < line.trimEnd().length)
      return MACHINE_READ.test(line) || /https?:\S{60}/.test(line) ? [] : [`${place}: wrap the comment`];
    // The formatter keeps an expression inside a template on its line.
    const one = { path, text: line, bare: (bareLines[at] ?? '').replace(/\$\{.*\}/g, '') };
    const withoutLiterals = one.bare.replace(/ {2,}(?=\S)/g, ' ').trimEnd();
    if (withoutLiterals.length + line.search(/\S/) > COLUMNS) return [`${place}: code beyond ${COLUMNS} columns`];
    return LITERALS.some(({ fits }) => fits(one)) ? [] : [`${place}: split the literal`];
  });
}

const files = globSync('{src,test,scripts,bench,bin}/**/*.{ts,js}', { cwd: ROOT }).map((path) =>
  path.replaceAll('\\', '/'),
);
const found = new Map(files.map((path) => [path, tooLong(path, readFileSync(`${ROOT}${path}`, 'utf8'))]));

test('no line is longer than 120 columns without a reason', () => {
  assert.ok(files.length > 900, `${files.length} files`);
  const lines = [...found].flatMap(([, wrong]) => wrong);
  assert.deepEqual(lines, []);
});

test('the formatter ends lines at the same column', () => {
  const biome = JSON.parse(readFileSync(`${ROOT}biome.json`, 'utf8')) as { formatter: { lineWidth: number } };
  assert.equal(biome.formatter.lineWidth, COLUMNS);
});

test('the rule finds long comments, code and messages, and accepts its reasons', () => {
  const words = 'word '.repeat(40);
  const bad = [
    `// ${words}`,
    `/** ${words}*/`,
    `const a = 1; // ${words}`,
    `const a = ${'a + '.repeat(40)}1;`,
    `const a = '${words}';`,
  ];
  for (const text of bad) assert.equal(tooLong('src/call/x.ts', text).length, 1, text);
  const fine = [
    `const a =\n  /${'a|'.repeat(80)}b/i;`,
    `const page = \`\n${words}\n\`;`,
    `  message: '${'word '.repeat(25)}',`,
    `// row A1 · guards ${'src/call/x.ts, '.repeat(10)}`,
    `// https://example.com/${'a'.repeat(120)}`,
  ];
  for (const text of fine) assert.deepEqual(tooLong('src/call/x.ts', text), [], text);
  assert.deepEqual(tooLong('test/cases/x.ts', `test('${words}', () => {`), []);
});

/**
 * ARCHITECTURE.md is true to the code: its paths exist, its modules are the modules of `src/` in their layers, its
 * labels and containers are in the code, each rule names a test that exists. The same for the paths that
 * CONTRIBUTING.md, operate.md and the decisions name.
 */
// covers: A10
import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { LAYERS } from '../architecture/_layers.ts';
import { ROOT } from '../support/hub.ts';
import { DOCUMENTS, type Document, documentFrom, inlineCodeIn, readDocument } from './_documents.ts';

const MAX_LINES = 350;
const page = readDocument('ARCHITECTURE.md');
const sources = globSync('**/*.ts', { cwd: join(ROOT, 'src') }).filter((path) => !path.endsWith('.test.ts'));
const code = sources.map((path) => readFileSync(join(ROOT, 'src', path), 'utf8')).join('\n');
const rooms = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

/** Paths in inline code and in parentheses: from the root, from `src/`, or a file's name alone. */
function deadPaths(document: Document): string[] {
  const names = new Set(sources.map((path) => basename(path)));
  return inlineCodeIn(document).filter((text) => {
    if (
      !/^[\w.-]+(\/[\w.-]+)*\/?$/.test(text) ||
      !/[\w-]\.(ts|json|md)$|^(src|test|docs|scripts|examples|bench)\//.test(text)
    )
      return false;
    if (existsSync(join(ROOT, text)) || existsSync(join(ROOT, 'src', text))) return false;
    return text.includes('/') || (text.endsWith('.ts') && !names.has(text));
  });
}

/** Cells of the table whose head begins with `first`. */
function tableOf(document: Document, first: string): string[][] {
  const { lines } = document;
  const at = lines.findIndex((line) => line.startsWith(`| ${first} |`));
  assert.ok(at >= 0, `a table that begins with ${first}`);
  const end = lines.findIndex((line, index) => index > at && !line.startsWith('|'));
  return lines.slice(at + 2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const codeIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? '');

test(`ARCHITECTURE.md has at most ${MAX_LINES} lines`, () => {
  assert.ok(page.text.split('\n').length <= MAX_LINES);
});

// Settings of users are no files of ours; pages made from tables have tests of their own.
for (const path of DOCUMENTS.filter((one) =>
  /^(ARCHITECTURE|CONTRIBUTING|docs\/(operate|adr\/.*))(\.md)?$/.test(one),
)) {
  test(`every path that ${path} names exists`, () => {
    assert.deepEqual(deadPaths(readDocument(path)), []);
  });
}

test('a path that does not exist is seen', () => {
  const bad = documentFrom('x.md', '`src/nowhere.ts` `call/nowhere.ts` `nowhere.ts` `docs/nowhere.md` `test/nowhere`');
  assert.equal(deadPaths(bad).length, 5);
  assert.deepEqual(
    deadPaths(documentFrom('x.md', '`src/call/pipeline.ts` `call/pipeline.ts` `pipeline.ts` `npm test` `a.b`')),
    [],
  );
});

test('the modules of the table are the modules of src/, each in its layer', () => {
  const rows = tableOf(page, 'layer').map(([layer = '', room = '']) => [codeIn(room)[0] ?? '', Number(layer)] as const);
  assert.deepEqual(rows.map(([room]) => room).sort(), rooms.sort());
  for (const [room, layer] of rows) assert.equal(layer, LAYERS[room], room);
});

test('labels and containers of the table of modules are in the code', () => {
  const waits = readFileSync(join(ROOT, 'src/runtime/wait-labels.ts'), 'utf8');
  for (const [, room = '', , may = '', ceilings = ''] of tableOf(page, 'layer')) {
    for (const label of codeIn(may)) assert.ok(waits.includes(`| '${label}'`), `${room} waits for ${label}`);
    for (const name of codeIn(ceilings).filter((text) => text.includes('.')))
      assert.ok(code.includes(`'${name}'`), `${room} has the ceiling ${name}`);
  }
});

test('modules that may wait for nothing do not wait, and modules that wait say for what', () => {
  for (const [, room = '', , may = ''] of tableOf(page, 'layer')) {
    const name = codeIn(room)[0] ?? '';
    const text = sources
      .filter((path) => path.startsWith(`${name}/`))
      .map((path) => readFileSync(join(ROOT, 'src', path), 'utf8'))
      .join('\n');
    const waitsFor = [...text.matchAll(/\blabel: '([\w-]+)'|waits\s*\.\s*open\('([\w-]+)'/g)].map(
      ([, a, b]) => a ?? b ?? '',
    );
    if (may === 'nothing') assert.deepEqual(waitsFor, [], name);
    else
      assert.ok(waitsFor.length === 0 || codeIn(may).some((label) => waitsFor.includes(label)), `${name}: ${waitsFor}`);
  }
});

test('all eight rules have a home and a test', () => {
  const rows = tableOf(page, 'rule');
  assert.deepEqual(
    rows.map(([rule = '']) => Number(rule.split(' ')[0])),
    [1, 2, 3, 4, 5, 6, 7, 8],
  );
  for (const [rule = '', home = '', tests = ''] of rows) {
    assert.ok(codeIn(home).length > 0, rule);
    assert.ok(
      codeIn(tests).some((path) => path.endsWith('.test.ts')),
      rule,
    );
  }
});

test('the limits that the life of a call names exist', () => {
  const limits = readFileSync(join(ROOT, 'docs/limits.md'), 'utf8');
  for (const [, , , waits = '', exceeded = ''] of tableOf(page, '#')) {
    for (const name of codeIn(`${waits} ${exceeded}`).filter((text) => /(Ms|Bytes|Queue)$/.test(text)))
      assert.ok(limits.includes(`\`${name}\``), name);
  }
});

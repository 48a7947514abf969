/** docs/cli.md is what the command says of itself, and no document names a command or variable that does not exist. */
// covers: A10
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { allHelp, cliPage, commandsIn, type Help } from '../../scripts/generate-cli-page.ts';
import { ROOT } from '../support/hub.ts';
import { DOCUMENTS, type Document, documentFrom, inlineCodeIn, readDocument } from './_documents.ts';

let asked: Promise<readonly Help[]> | undefined;
function help(): Promise<readonly Help[]> {
  asked ??= allHelp();
  return asked;
}

/** Commands that stand in inline code or in blocks and that the command does not know. */
function unknownCommands(document: Document, known: ReadonlySet<string>): string[] {
  const texts = [...inlineCodeIn(document), ...document.blocks.flatMap(({ text }) => text.split('\n'))];
  return texts.flatMap((text) => {
    const [, rest = ''] = /^(?:npx )?mcphub((?: [a-z][\w-]*)+)/.exec(text.trim()) ?? [];
    const [first, second] = rest.trim().split(' ');
    if (first === undefined || first === '' || first === 'help') return [];
    if (!known.has(first)) return [text];
    const isFamily = [...known].some((one) => one.startsWith(`${first} `));
    return isFamily && second !== undefined && !known.has(`${first} ${second}`) ? [text] : [];
  });
}

test('docs/cli.md is what the command says (else run: npm run docs)', async () => {
  assert.equal(readFileSync(join(ROOT, 'docs/cli.md'), 'utf8'), cliPage(await help()));
});

test('no document names a command that does not exist', async () => {
  const known = new Set((await help()).map(({ words }) => words.join(' ')).filter((words) => words !== ''));
  known.add('serve');
  for (const path of DOCUMENTS) assert.deepEqual(unknownCommands(readDocument(path), known), [], path);
  const bad = documentFrom('x.md', '`mcphub surgeon` `npx mcphub keys delete x`\n\n```sh\nmcphub servers add\n```\n');
  assert.equal(unknownCommands(bad, known).length, 3);
  assert.deepEqual(
    unknownCommands(documentFrom('x.md', '`mcphub keys` `mcphub tools call a_b` `mcphub_…`'), known),
    [],
  );
});

test('the README’s table holds every command', async () => {
  const { text } = readDocument('README.md');
  for (const { words } of await help()) {
    const last = words.at(-1);
    if (last !== undefined) assert.match(text, new RegExp(`^\\| \`mcphub .*\\b${last}\\b.*\\|`, 'm'), words.join(' '));
  }
});

test('no document names a variable that nothing reads', () => {
  const code = globSync('src/**/*.ts', { cwd: ROOT })
    .map((path) => readFileSync(join(ROOT, path), 'utf8'))
    .join('\n');
  const given = new Set(['MCPHUB_KEY']);
  for (const path of DOCUMENTS) {
    for (const [name] of readDocument(path).text.matchAll(/\bMCPHUB_[A-Z][A-Z_]*[A-Z]\b/g)) {
      const base = name.replace(/_FILE$/, '');
      assert.ok(given.has(name) || code.includes(name) || (base !== name && code.includes(base)), `${path}: ${name}`);
    }
  }
});

test('commands are read from help, without aliases', () => {
  const text =
    'Usage: x\n\nCommands:\n  start|serve [options]  run\n                         on\n  keys                   k\n  help [command]         h\n';
  assert.deepEqual(commandsIn(text), ['start', 'keys']);
});

/** Pages made from tables are as new as the tables; the prose page and the example are true. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '../src/config/parse.ts';
import { keysAt } from '../src/config/schema.ts';
import { generatedPages } from './generate-docs.ts';

const ROOT = new URL('../', import.meta.url);

for (const { file, text } of generatedPages()) {
  test(`docs/${file.pathname.split('/').at(-1)} is what its table says (else run: node scripts/generate-docs.ts)`, () => {
    assert.equal(readFileSync(file, 'utf8'), text);
  });
}

test('the example of docs/config.md is good, with its variables set', () => {
  const page = readFileSync(new URL('docs/config.md', ROOT), 'utf8');
  const [, example = ''] = /```jsonc\n([\s\S]*?)```/.exec(page) ?? [];
  const loaded = parseConfig(example, '/srv/mcp_settings.json', { GITHUB_TOKEN: 'x', SEARCH_TOKEN: 'y' });
  assert.deepEqual(loaded.problems, []);
  assert.equal(loaded.config?.servers.length, 4);
  for (const name of [...loaded.config.servers, ...loaded.config.groups].map((entry) => entry.name))
    assert.ok(page.includes(name));
});

test('docs/config.md names every key of a server that means something', () => {
  const page = readFileSync(new URL('docs/config.md', ROOT), 'utf8');
  for (const key of [
    'type',
    'command',
    'args',
    'env',
    'cwd',
    'url',
    'headers',
    'launch',
    'enabled',
    'disabled',
    'interactive',
  ]) {
    assert.ok(keysAt(['mcpServers', 'a']).includes(key) && page.includes(`\`${key}`), key);
  }
});

test('the packaged example is good, needs no variables, and its programs are installed', () => {
  const file = fileURLToPath(new URL('examples/mcp_settings.json', ROOT));
  const { config, problems } = parseConfig(readFileSync(file, 'utf8'), file, {});
  assert.deepEqual(problems, []);
  assert.deepEqual(
    config?.servers.map(({ name }) => name),
    ['everything', 'everything-http', 'filesystem', 'memory', 'sequential-thinking'],
  );
  assert.deepEqual(
    config?.groups.map(({ name }) => name),
    ['demo'],
  );
  for (const { name, transport } of config?.servers ?? []) {
    const program = transport.kind === 'http' ? transport.launch : transport.kind === 'stdio' ? transport : undefined;
    assert.ok(program?.cwd !== undefined && isAbsolute(program.cwd), name);
    assert.ok(existsSync(join(program.cwd, program.args[0] ?? '')), name);
  }
});

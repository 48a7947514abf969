import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { childEnvironment, notInheritedHint, strippedHint } from './environment.ts';

function environment(inherited: Record<string, string>, own: Record<string, string> = {}) {
  return childEnvironment({ inherited, own, path: '/bin', mark: 'm' });
}

// finding: SR-H4
test('a child inherits a short list of variables and nothing else of the hub', () => {
  const { env } = environment({
    HOME: '/home/a',
    LC_ALL: 'C',
    MCPHUB_SECRET: 's3cret',
    MCPHUB_BOOTSTRAP_KEY: 'k',
    GITHUB_TOKEN: 't',
    NODE_OPTIONS: '--inspect',
    NPM_TOKEN: 't',
    AWS_SECRET_ACCESS_KEY: 'x',
    SHELL: '() { evil; }',
  });
  assert.deepEqual(env, { HOME: '/home/a', LC_ALL: 'C', PATH: '/bin', MCPHUB_MARK: 'm' });
});

const CREDENTIALS: readonly (readonly [name: string, given: string, clean: string])[] = [
  ['HTTPS_PROXY', 'http://user:pass@proxy:3128', 'http://proxy:3128'],
  ['http_proxy', 'http://user@proxy:3128/', 'http://proxy:3128/'],
  ['ALL_PROXY', 'socks5://u:p%40ss@proxy', 'socks5://proxy'],
  ['all_proxy', 'user:pass@proxy:3128', 'proxy:3128'],
  ['HTTP_PROXY', 'http://a:b@c@proxy', 'http://proxy'],
  ['npm_config_registry', 'https://token:x@npm.example.com/path/@scope', 'https://npm.example.com/path/@scope'],
  ['UV_DEFAULT_INDEX', 'https://__token__:x@pypi.example.com/simple', 'https://pypi.example.com/simple'],
  ['PIP_INDEX_URL', 'https://u:p@pypi.example.com/simple', 'https://pypi.example.com/simple'],
  ['DOCKER_HOST', 'ssh://user:pass@host', 'ssh://host'],
];

for (const [name, given, clean] of CREDENTIALS) {
  test(`credentials are removed from an inherited ${name} (${given.replace(/:\/\/.*@/, '://…@')})`, () => {
    const { env, stripped } = environment({ [name]: given });
    assert.equal(env[name], clean);
    assert.deepEqual(stripped, [name]);
    assert.match(strippedHint(stripped), new RegExp(`${name}.*"env" of the server`));
  });

  test(`credentials in ${name} (${given.length} characters) stay where the server configures them`, () => {
    const { env, stripped } = environment({ [name]: 'http://other:pw@host' }, { [name]: given });
    assert.equal(env[name], given);
    assert.deepEqual(stripped, []);
  });
}

test('addresses without credentials are passed on unchanged', () => {
  const inherited = {
    HTTPS_PROXY: 'http://proxy:3128/',
    npm_config_registry: 'https://npm.example.com/@scope/',
    DOCKER_HOST: 'ssh://user@host',
    NO_PROXY: 'localhost,.example.com',
  };
  const { env, stripped } = environment(inherited);
  for (const [name, value] of Object.entries(inherited)) assert.equal(env[name], value);
  assert.deepEqual(stripped, []);
  assert.equal(strippedHint(stripped), '');
});

// case: SV56
test('the documented list of inherited variables is the one that is in force', () => {
  const page = readFileSync(new URL('../../../docs/config.md', import.meta.url), 'utf8');
  const section = page.split('## Environment of a server\n')[1]?.split('\n## ')[0] ?? '';
  const table = section.split('| --- |')[1]?.split('\n\n')[0] ?? '';
  const documented = [...table.matchAll(/`([A-Za-z_]+\*?)`/g)].map(([, name = '']) => name.replace('*', 'X'));
  assert.ok(documented.length > 30, 'the table is found');
  const source = readFileSync(new URL('./environment.ts', import.meta.url), 'utf8').split('const WINDOWS')[0] ?? '';
  const written = [...source.matchAll(/'([A-Za-z_]+)'/g)].map(([, name = '']) => name);
  const names = [...new Set([...documented, ...written])];
  const { env } = environment(Object.fromEntries(names.map((name) => [name, 'v'])));
  const inherited = names.filter((name) => env[name] !== undefined);
  const lower = ['http_proxy', 'https_proxy', 'no_proxy', 'all_proxy'];
  assert.deepEqual(inherited.filter((name) => !lower.includes(name)).sort(), [...documented].sort());
});

test('a variable that last words name and servers do not inherit is named', () => {
  const hint = (words: string, own = {}) => notInheritedHint(words, { inherited: { TEAM_TOKEN: 'x', HOME: '/' }, own });
  assert.match(hint('Error: DISPLAY is not set'), /do not inherit DISPLAY from the hub/);
  assert.match(hint('set AWS_PROFILE or TEAM_TOKEN'), /AWS_PROFILE, TEAM_TOKEN/);
  assert.equal(hint('HOME is wrong, MCPHUB_SECRET, SOME_WORD, ERROR'), '');
  assert.equal(hint('TEAM_TOKEN is wrong', { TEAM_TOKEN: 'y' }), '');
});

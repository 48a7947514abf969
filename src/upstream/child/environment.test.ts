import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childEnvironment, strippedHint } from './environment.ts';

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

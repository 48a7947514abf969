import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Exposure, warnOfExposure } from './exposure.ts';
import { Problems } from './problems.ts';

function paths(more: Partial<Exposure> & { allowedHosts?: string[]; trustedProxies?: string[] }): string[] {
  const problems = new Problems('f', () => ({ line: 0, column: 0 }));
  const { env = {}, groups = [], allowedHosts = [], trustedProxies = [] } = more;
  warnOfExposure({ env, groups, settings: { allowedHosts, trustedProxies } }, problems);
  assert.equal(problems.errors, 0);
  return problems.list().map(({ path }) => path);
}

const OPEN = [{ name: 'open', access: 'anonymous' }] as const;

test('warns of a hub that listens beyond loopback without a trusted proxy', () => {
  for (const HOST of ['0.0.0.0', '::', '192.168.1.5', 'hub.example.com']) {
    assert.deepEqual(paths({ env: { HOST } }), ['HOST'], HOST);
    assert.deepEqual(paths({ env: { HOST }, trustedProxies: ['10.0.0.5'] }), [], HOST);
  }
  for (const HOST of ['', '127.0.0.1', '127.1.2.3', '::1', 'localhost'])
    assert.deepEqual(paths({ env: { HOST } }), [], HOST);
  assert.deepEqual(paths({}), []);
});

test('warns of groups without a key where the hub is meant for other machines', () => {
  assert.deepEqual(paths({ groups: OPEN }), []);
  assert.deepEqual(paths({ groups: OPEN, allowedHosts: ['hub.example.com'] }), ['groups']);
  assert.deepEqual(paths({ groups: OPEN, env: { HOST: '0.0.0.0' }, trustedProxies: ['10.0.0.5'] }), ['groups']);
  assert.deepEqual(paths({ groups: [{ name: 'a', access: 'key' }], allowedHosts: ['hub.example.com'] }), []);
});

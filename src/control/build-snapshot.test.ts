import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GroupConfig, ServerConfig } from '../config/load.ts';
import { type Listing, wholeListing } from '../model/snapshot.ts';
import type { StoredKey } from '../store/keys.ts';
import { type BuildInput, buildSnapshot, contentDigest } from './build-snapshot.ts';
import { newSlugs } from './slugs.ts';

function server(name: string, transport: Partial<ServerConfig['transport']> = {}): ServerConfig {
  const times = { silenceMs: undefined, totalMs: undefined, callTimeoutMs: undefined };
  const http = { kind: 'http', url: 'http://127.0.0.1:1/', headers: {}, launch: undefined };
  return {
    name,
    enabled: true,
    transport: { ...http, ...transport } as ServerConfig['transport'],
    interactive: false,
    era: 'auto',
    times,
    inFlight: undefined,
    startMs: undefined,
    installMs: undefined,
    tools: {},
  };
}

const stdio = (name: string) => server(name, { kind: 'stdio', command: 'x', args: [], env: {}, cwd: undefined });
const listing = (slug: string): Listing =>
  wholeListing({
    server: slug,
    atMs: 1,
    digest: 'd',
    tools: [],
    hidden: [],
    instructions: '',
  });

function input(servers: readonly ServerConfig[], groups: readonly GroupConfig[] = [], more: Partial<BuildInput> = {}) {
  const config = {
    servers,
    groups,
    limitOverrides: { calls: 7 },
    settings: { allowedHosts: [], allowedOrigins: [], trustedProxies: [], legacySse: true, keyInQuery: false },
  };
  const slugs = newSlugs(config, []);
  return { config, slugs, keys: [], names: [], listings: [], workers: 1, revision: 1, keysRevision: 1, ...more };
}

test('groups refer to servers by slug; servers that are not configured are left out', () => {
  const groups: GroupConfig[] = [
    { name: 'Dév', access: 'key', servers: ['My Server', 'gone'], tools: { 'My Server': ['a'], gone: ['b'] } },
    { name: 'all', access: 'anonymous', servers: '*', tools: {} },
  ];
  const snapshot = buildSnapshot(input([server('My Server')], groups));
  assert.deepEqual(snapshot.groups, [
    { name: 'Dév', slug: 'Dev', access: 'key', servers: ['My-Server'], tools: { 'My-Server': ['a'] } },
    { name: 'all', slug: 'all', access: 'anonymous', servers: '*', tools: {} },
  ]);
  assert.deepEqual(snapshot.limits, { calls: 7 });
});

test('each child process has one worker, independent of the other servers; remote servers have none', () => {
  const many = Array.from({ length: 60 }, (_, at) => stdio(`s${at}`));
  const launched = server('launched', { launch: { command: 'x', args: [], env: {}, cwd: undefined } });
  const three = { workers: 3 };
  const homes = buildSnapshot(input([...many, launched, server('remote')], [], three)).servers;
  assert.equal(homes.find(({ slug }) => slug === 'remote')?.homeHub, 0);
  assert.notEqual(homes.find(({ slug }) => slug === 'launched')?.homeHub, 0);
  for (const slot of [1, 2, 3]) assert.ok(homes.filter(({ homeHub }) => homeHub === slot).length > 8, `worker ${slot}`);
  const fewer = buildSnapshot(input(many.slice(30), [], three)).servers;
  for (const { slug, homeHub } of fewer) assert.equal(homeHub, homes.find((one) => one.slug === slug)?.homeHub);
});

test('the digest depends on the content of the transport, not on the order of its keys', () => {
  assert.equal(contentDigest({ a: 1, b: { c: [1, 2], d: 2 } }), contentDigest({ b: { d: 2, c: [1, 2] }, a: 1 }));
  const hashOf = (headers: Record<string, string>) =>
    buildSnapshot(input([server('s', { headers })])).servers[0]?.hash ?? '';
  assert.equal(hashOf({ a: '1', b: '2' }), hashOf({ b: '2', a: '1' }));
  assert.notEqual(hashOf({ a: '1' }), hashOf({ a: '2' }));
  assert.notEqual(contentDigest(['a', 'b']), contentDigest(['b', 'a']));
});

test('leaves out revoked keys, and names and listings of servers that are not configured', () => {
  const key = { id: 'k', hash: 'h', last4: 'ffff', createdAtMs: 1, revokedAtMs: undefined } as StoredKey;
  const names = [
    { kind: 'tool' as const, exposed: 's_a', server: 's', native: 'a' },
    { kind: 'tool' as const, exposed: 'g_a', server: 'gone', native: 'a' },
  ];
  const snapshot = buildSnapshot(
    input([server('s')], [], {
      keys: [key, { ...key, id: 'dead', revokedAtMs: 5 }],
      names,
      listings: [listing('s'), listing('gone')],
    }),
  );
  assert.deepEqual(
    [snapshot.keys.map(({ id }) => id), snapshot.names.map(({ exposed }) => exposed), snapshot.listings.length],
    [['k'], ['s_a'], 1],
  );
  assert.equal(Object.hasOwn(snapshot.keys[0] ?? {}, 'last4'), false);
});

/**
 * Views: what each group sees, targets of names, which views a change affects, and its cost.
 * covers: B13
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupSpec, listingOf, listingWith, serverSpec, worldOf } from '../../test/support/catalog-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { Catalog, type CatalogInput } from './catalog.ts';
import type { View } from './view.ts';

function catalogOf(world: CatalogInput): Catalog {
  const catalog = new Catalog({ runtime: createRuntime(), limits: limitsFrom({}) });
  catalog.rebuild(world);
  return catalog;
}

const namesIn = (view: View | undefined): string[] =>
  (JSON.parse(view?.toolsJson().toString() ?? '[]') as { name: string }[]).map(({ name }) => name);

const docs = listingOf('docs', ['docs.find', 'read-page']);
const files = listingOf('files', ['read', 'write']);
const two = worldOf([serverSpec('docs'), serverSpec('files')], [files, docs]);

test('an empty catalog has an empty list', () => {
  const catalog = new Catalog({ runtime: createRuntime(), limits: limitsFrom({}) });
  assert.equal(catalog.viewAll().toolsJson().toString(), '[]');
  assert.equal(catalog.viewOfGroup('x'), undefined);
  assert.equal(catalog.viewOfGroups(['x']).toolCount, 0);
});

test('lists tools in configuration order, then in the order of the server', () => {
  assert.deepEqual(namesIn(catalogOf(two).viewAll()), [
    'docs_docs_find',
    'docs_read_page',
    'files_read',
    'files_write',
  ]);
});

test('replaces the native name by the exposed one, keeps everything else, and uses the native name as title', () => {
  const json = '{ "x":1, "name" : "a.b", "inputSchema":{"type":"object"}}';
  const listing = {
    ...listingOf('s', []),
    tools: [{ native: 'a.b', json, title: 'a.b', repaired: undefined, dropStructured: true }],
  };
  const view = catalogOf(worldOf([serverSpec('s')], [listing])).viewAll();
  assert.equal(
    view.toolsJson().toString(),
    '[{ "x":1, "name" : "s_a_b","title":"a.b", "inputSchema":{"type":"object"}}]',
  );
  assert.equal(view.route('s_a_b')?.nativeJson.toString(), '"a.b"');
  assert.equal(view.route('s_a_b')?.dropStructured, true);
  const titled = catalogOf(worldOf([serverSpec('s')], [listingWith('s', [{ title: 'T', name: 'n' }])])).viewAll();
  assert.equal(titled.toolsJson().toString(), '[{"title":"T","name":"s_n","inputSchema":{"type":"object"}}]');
});

test('shows a server name with other than ASCII letters in the titles of its tools', () => {
  const tools = [
    { name: 'echo', inputSchema: { type: 'object' } },
    { title: 'Add', name: 'add', inputSchema: { type: 'object' } },
  ];
  const view = catalogOf(
    worldOf([serverSpec('s-41101d', { name: '깃허브' })], [listingWith('s-41101d', tools)]),
  ).viewAll();
  const listed: { name: string; title: string }[] = JSON.parse(view.toolsJson().toString());
  assert.deepEqual(
    listed.map(({ name, title }) => [name, title]),
    [
      ['s_41101d_echo', '깃허브: echo'],
      ['s_41101d_add', '깃허브: Add'],
    ],
  );
});

test('leaves out disabled servers and tools; a server without a listing is in the view without tools', () => {
  const off = {
    ...two,
    servers: [
      serverSpec('docs', { enabled: false }),
      serverSpec('files', {
        tools: { read: { enabled: false, silenceMs: undefined, totalMs: undefined, callTimeoutMs: undefined } },
      }),
      serverSpec('new'),
    ],
  };
  const catalog = catalogOf(off);
  assert.deepEqual(namesIn(catalog.viewAll()), ['files_write']);
  assert.deepEqual(catalog.viewAll().servers, ['files', 'new']);
  assert.equal(catalog.viewOfServer('docs'), undefined);
  assert.equal(catalog.viewAll().route('files_read'), undefined);
});

test('a group shows its servers with their selected tools, and calls reach no others', () => {
  const catalog = catalogOf({
    ...two,
    groups: [groupSpec('g', ['files', 'gone'], { tools: { files: ['read'] } }), groupSpec('all', '*')],
  });
  assert.deepEqual(namesIn(catalog.viewOfGroup('g')), ['files_read']);
  assert.equal(catalog.viewOfGroup('g')?.route('files_write'), undefined);
  assert.equal(catalog.viewOfGroup('g')?.route('docs_docs_find'), undefined);
  assert.equal(catalog.viewOfGroup('all')?.toolCount, 4);
  assert.deepEqual(catalog.viewOfServer('docs')?.servers, ['docs']);
});

test('groups and servers may be named like built-in properties of JavaScript', () => {
  const catalog = catalogOf(
    worldOf(
      [serverSpec('constructor')],
      [listingOf('constructor', ['toString'])],
      [groupSpec('__proto__', ['constructor'])],
    ),
  );
  assert.deepEqual(namesIn(catalog.viewOfGroup('__proto__')), ['constructor_toString']);
});

test('a union of groups shows what any of its groups shows', () => {
  const groups = [
    groupSpec('a', ['files'], { tools: { files: ['read'] } }),
    groupSpec('b', ['files'], { tools: { files: ['write'] } }),
    groupSpec('c', ['docs', 'files']),
  ];
  const catalog = catalogOf({ ...two, groups });
  assert.deepEqual(namesIn(catalog.viewOfGroups(['b', 'a'])), ['files_read', 'files_write']);
  assert.equal(catalog.viewOfGroups(['a', 'b']), catalog.viewOfGroups(['b', 'a', 'b']));
  assert.equal(catalog.viewOfGroups(['a', 'c', 'gone']).toolCount, 4);
});

test('finds the right tool by another spelling', () => {
  const view = catalogOf(two).viewAll();
  for (const name of ['docs_docs_find', 'docs.docs.find', 'docs_find', 'docs.find', 'docs-find', 'docs__docs.find']) {
    assert.equal(view.route(name)?.native, 'docs.find', name);
  }
  for (const name of ['read-page', 'read_page', 'docs.read-page'])
    assert.equal(view.route(name)?.native, 'read-page', name);
  for (const name of ['', 'find', 'Docs.Find', 'constructor', '__proto__'])
    assert.equal(view.route(name), undefined, name);
});

test('an ambiguous spelling leads nowhere, and a server cannot take the name of another', () => {
  const world = worldOf(
    [serverSpec('good'), serverSpec('evil')],
    [listingOf('good', ['read_file', 'x.y']), listingOf('evil', ['read_file', 'good_read_file', 'x-y'])],
  );
  const view = catalogOf(world).viewAll();
  assert.equal(view.route('read_file'), undefined);
  assert.equal(view.route('x_y'), undefined);
  assert.equal(view.route('x-y')?.server, 'evil');
  assert.equal(view.route('good_read_file')?.server, 'good');
  const without = catalogOf({
    ...world,
    servers: [serverSpec('good', { enabled: false }), serverSpec('evil')],
  }).viewAll();
  assert.equal(without.route('good_read_file'), undefined, 'the name of a tool that is away is not for others');
  assert.equal(without.route('good.read-file'), undefined);
  assert.equal(without.route('evil_good_read_file')?.native, 'good_read_file');
});

test('a rebuild keeps unchanged views with their bytes and reports exactly the changed ones', () => {
  const groups = [groupSpec('d', ['docs']), groupSpec('f', ['files'])];
  const world = { ...two, groups };
  const catalog = catalogOf(world);
  const bytes = catalog.viewOfGroup('d')?.toolsJson();
  const union = catalog.viewOfGroups(['d', 'f']);
  catalog.viewOfGroups(['d']);
  const heard: string[][] = [];
  const stop = catalog.onChange((changed) => heard.push(changed.map(({ view }) => view).sort()));
  catalog.rebuild(structuredClone(world));
  assert.deepEqual(heard, []);
  assert.equal(catalog.viewOfGroups(['d', 'f']), union);
  catalog.rebuild(worldOf(world.servers, [docs, listingOf('files', ['read', 'write', 'append'])], groups, world));
  assert.deepEqual(heard, [['all', 'group:f', 'groups:d,f', 'server:files']]);
  assert.equal(catalog.viewOfGroup('d')?.toolsJson(), bytes);
  catalog.rebuild({ ...world, groups: [] });
  assert.deepEqual(heard[1], ['all', 'group:d', 'group:f', 'groups:d', 'groups:d,f', 'server:files']);
  stop();
  catalog.rebuild(two);
  assert.equal(heard.length, 2);
});

test('a new server changes no name of the others', () => {
  const catalog = catalogOf(two);
  const before = catalog.viewAll().route('files_read');
  catalog.rebuild(
    worldOf([serverSpec('files-read'), ...two.servers], [listingOf('files-read', ['', 'x']), ...two.listings], [], two),
  );
  assert.equal(catalog.viewAll().route('files_read'), before);
});

test('resolves a path segment by slug or name; groups take precedence over servers', () => {
  const catalog = catalogOf({
    ...two,
    servers: [serverSpec('gh', { name: '깃허브' }), serverSpec('docs'), serverSpec('off', { enabled: false })],
    groups: [groupSpec('docs', '*'), groupSpec('team', '*', { name: 'Our team' })],
  });
  assert.deepEqual(catalog.resolvePath('깃허브'), { kind: 'server', slug: 'gh' });
  assert.deepEqual(catalog.resolvePath('docs'), { kind: 'group', slug: 'docs' });
  assert.deepEqual(catalog.resolvePath('Our team'), { kind: 'group', slug: 'team' });
  assert.equal(catalog.resolvePath('off'), undefined);
  assert.equal(catalog.resolvePath('constructor'), undefined);
});

test('damaged JSON in a snapshot removes the schema of its tool, not the list', () => {
  const listing = {
    ...listingOf('s', []),
    tools: [{ native: 'a', json: '{"na', title: 'a', repaired: undefined, dropStructured: false }],
  };
  assert.deepEqual(namesIn(catalogOf(worldOf([serverSpec('s')], [listing, files])).viewAll()), ['s_a']);
});

test('1,000 tools: a rebuild, the first list and ten thousand lookups are cheap', () => {
  const servers = Array.from({ length: 50 }, (_, i) => serverSpec(`server${i}`));
  const groups = Array.from({ length: 20 }, (_, i) => groupSpec(`g${i}`, '*'));
  const inputSchema = {
    type: 'object',
    properties: { a: { type: 'string', title: 'A', description: 'x'.repeat(300) } },
  };
  const listings = servers.map(({ slug }) =>
    listingWith(
      slug,
      Array.from({ length: 20 }, (_, i) => ({ name: `tool-${i}`, inputSchema })),
    ),
  );
  const world = worldOf(servers, listings, groups);
  const cost = (work: () => void): number => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  // CPU time, and the best of several rounds: another process may use the core.
  const best = { firstMs: 1e9, sameMs: 1e9, listMs: 1e9, routesMs: 1e9 };
  for (let round = 0; round < 8; round += 1) {
    const catalog = catalogOf(two);
    const same = structuredClone(world);
    best.firstMs = Math.min(
      best.firstMs,
      cost(() => catalog.rebuild(world)),
    );
    best.listMs = Math.min(
      best.listMs,
      cost(() => catalog.viewAll().toolsJson()),
    );
    const bytes = catalog.viewAll().toolsJson();
    best.sameMs = Math.min(
      best.sameMs,
      cost(() => catalog.rebuild(same)),
    );
    assert.equal(catalog.viewAll().toolsJson(), bytes);
    const look = (): void => {
      for (let i = 0; i < 10_000; i += 1) catalog.viewAll().route(`server${i % 50}_tool_${i % 20}`);
    };
    best.routesMs = Math.min(best.routesMs, cost(look));
  }
  if (process.env.MCPHUB_FIGURES) console.log(best);
  assert.ok(best.firstMs < 25 && best.sameMs < 25 && best.listMs < 25 && best.routesMs < 25, JSON.stringify(best));
});

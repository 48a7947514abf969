/**
 * Prompts and resources in views: exposed names and URIs, and their targets.
 */
// covers: B13
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesOf, groupSpec, listingWith, serverSpec, worldOf } from '../../test/support/catalog-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Listing, RawListing } from '../model/snapshot.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { Catalog, type CatalogInput, type ViewChange } from './catalog.ts';
import { exposedTemplate, exposedUri, nativeUri } from './exposed-uri.ts';
import type { View } from './view.ts';

function catalogOf(world: CatalogInput): Catalog {
  const catalog = new Catalog({ runtime: createRuntime(), limits: limitsFrom({}) });
  catalog.rebuild(world);
  return catalog;
}

interface Lists {
  readonly tools?: readonly string[];
  readonly prompts?: readonly string[];
  readonly uris?: readonly string[];
  readonly templates?: readonly string[];
  readonly declared?: RawListing['declared'];
}

function listing(server: string, lists: Lists): Listing {
  const { tools = [], prompts = [], uris = [], templates = [], declared = ['resources', 'prompts'] } = lists;
  return listingWith(
    server,
    tools.map((name) => ({ name, inputSchema: { type: 'object' } })),
    {
      prompts: prompts.map((name) => bytesOf({ name })),
      resources: uris.map((uri) => bytesOf({ uri, name: 'n', mimeType: 'text/plain' })),
      templates: templates.map((uriTemplate) => bytesOf({ uriTemplate, name: 't' })),
      declared,
    },
  );
}

function viewOf(lists: Readonly<Record<string, Lists>>): View {
  const servers = Object.keys(lists).map((slug) => serverSpec(slug));
  return catalogOf(
    worldOf(
      servers,
      Object.entries(lists).map(([slug, one]) => listing(slug, one)),
    ),
  ).viewAll();
}

const parsed = (json: Buffer): Record<string, string>[] => JSON.parse(json.toString());
const urisIn = (view: View): string[] => parsed(view.resourcesJson()).map(({ uri }) => String(uri));
const templatesIn = (view: View): string[] =>
  parsed(view.templatesJson()).map(({ uriTemplate }) => String(uriTemplate));
const leadsTo = (route: ReturnType<View['resourceRoute']>): string | undefined =>
  route && `${route.server} ${route.native}`;

test('prompts are named like tools, independently of them, and found by every spelling', () => {
  const view = viewOf({ docs: { tools: ['find'], prompts: ['find', 'how.to'] }, files: { prompts: ['find'] } });
  const names = parsed(view.promptsJson()).map(({ name, title }) => [name, title]);
  assert.deepEqual(names, [
    ['docs_find', 'find'],
    ['docs_how_to', 'how.to'],
    ['files_find', 'find'],
  ]);
  assert.equal(view.promptRoute('docs_find')?.native, 'find');
  assert.equal(view.promptRoute('docs.how-to')?.native, 'how.to');
  assert.equal(view.promptRoute('how.to')?.server, 'docs');
  assert.equal(view.promptRoute('find'), undefined, 'two servers have it');
  assert.equal(view.route('docs_find')?.native, 'find');
  assert.deepEqual([view.toolCount, view.promptCount], [1, 3]);
});

test('resources keep their URI, unless another server listed it first', () => {
  const view = viewOf({
    a: { uris: ['x://1', 'x://2'], templates: ['x://{id}'] },
    b: { uris: ['x://2', 'y://ä b'], templates: ['x://{id}', 'y://{+p}'] },
  });
  assert.deepEqual(urisIn(view), ['x://1', 'x://2', 'mcphub://b/x%3A%2F%2F2', 'y://ä b']);
  assert.deepEqual(templatesIn(view), ['x://{id}', 'mcphub://b/x://{id}', 'y://{+p}']);
  assert.equal(leadsTo(view.resourceRoute('x://2')), 'a x://2');
  assert.equal(leadsTo(view.resourceRoute('mcphub://b/x%3A%2F%2F2')), 'b x://2');
  assert.equal(view.resourceRoute('mcphub://b/x%3A%2F%2F2')?.renamed, true);
  assert.equal(view.resourceRoute('x://1')?.renamed, false);
  assert.equal(leadsTo(view.resourceRoute('mcphub://b/x://a%20b')), 'b x://a%20b', 'made from the template');
  assert.equal(leadsTo(view.templateRoute('mcphub://b/x://{id}')), 'b x://{id}');
  assert.equal(leadsTo(view.templateRoute('x://{id}')), 'a x://{id}');
  assert.deepEqual(Object.keys(parsed(view.resourcesJson())[2] ?? {}), ['uri', 'name', 'mimeType']);
});

test('renames nothing in the view of a single server', () => {
  const servers = [serverSpec('a'), serverSpec('b')];
  const catalog = catalogOf(worldOf(servers, [listing('a', { uris: ['x://2'] }), listing('b', { uris: ['x://2'] })]));
  assert.deepEqual(
    parsed(catalog.viewOfServer('b')?.resourcesJson() ?? Buffer.from('[]')).map(({ uri }) => uri),
    ['x://2'],
  );
});

test('wraps native URIs of the hub’s own scheme', () => {
  const stolen = exposedUri('good', 'x://1');
  const view = viewOf({ evil: { uris: [stolen, 'x://1', 'MCPHUB://good/x'] }, good: { uris: ['x://1'] } });
  assert.equal(leadsTo(view.resourceRoute(stolen)), 'good x://1');
  assert.equal(leadsTo(view.resourceRoute(exposedUri('evil', stolen))), `evil ${stolen}`);
  assert.equal(view.resourceRoute('mcphub://nobody/x%3A%2F%2F1'), undefined);
  assert.equal(view.resourceRoute('mcphub://good'), undefined);
  assert.equal(view.resourceRoute('mcphub://good/%'), undefined);
});

test('routes an unlisted URI to the server of the oldest matching template, then to the only server with resources', () => {
  const view = viewOf({
    a: { templates: ['file:///home/{name}', 'broken://{'] },
    b: { templates: ['file:///{+path}', 'file:///home/me'] },
  });
  assert.equal(leadsTo(view.resourceRoute('file:///home/me')), 'a file:///home/me');
  assert.equal(leadsTo(view.resourceRoute('file:///home/me/x')), 'b file:///home/me/x');
  assert.equal(view.resourceRoute('broken://{'), undefined);
  assert.equal(leadsTo(view.templateRoute('broken://{')), 'a broken://{');
  assert.equal(view.resourceRoute('other://x'), undefined, 'two servers could have it');
  const one = viewOf({ a: { uris: ['x://1'] }, b: { declared: [] } });
  assert.equal(leadsTo(one.resourceRoute('other://x')), 'a other://x');
  assert.equal(viewOf({ b: { declared: ['prompts'] } }).resourceRoute('other://x'), undefined);
});

/** Lists of two servers, one after the other; `evil` is first in the configuration. */
function viewAfter(steps: readonly Readonly<Record<string, Lists>>[]): View {
  const servers = [serverSpec('evil'), serverSpec('good')];
  let world: CatalogInput | undefined;
  for (const lists of steps) {
    const listings = Object.entries(lists).map(([slug, one]) => listing(slug, one));
    world = worldOf(servers, listings, [], world);
  }
  assert.ok(world);
  return catalogOf(world).viewAll();
}

test('a URI stays with the server that listed it first, even when it no longer lists it', () => {
  const good = { uris: ['x://1'] };
  const taken = viewAfter([{ good }, { good, evil: good }]);
  assert.equal(leadsTo(taken.resourceRoute('x://1')), 'good x://1');
  assert.deepEqual(urisIn(taken), ['mcphub://evil/x%3A%2F%2F1', 'x://1']);
  const left = viewAfter([{ good }, { good: { uris: [] }, evil: good }]);
  assert.equal(leadsTo(left.resourceRoute('x://1')), 'good x://1');
});

test('no template takes a URI that another server lists, or that matches an older template of another server', () => {
  const good = { uris: ['file:///srv/a'], templates: ['file:///srv/{+path}', 'note://{id}'] };
  for (const template of [
    'file:///srv/secret/{+p}',
    'file:///srv/secret/key',
    '{+x}',
    'file:{+x}',
    '{scheme}://{+x}',
  ]) {
    const view = viewAfter([{ good }, { good, evil: { templates: [template] } }]);
    for (const uri of ['file:///srv/a', 'file:///srv/secret/key', 'note://7'])
      assert.equal(leadsTo(view.resourceRoute(uri)), `good ${uri}`, template);
  }
});

test('a template without fixed scheme or authority takes no URI of another server’s scheme or authority', () => {
  const good = { uris: ['db:1'], templates: ['https://good.example/{id}'] };
  const view = viewAfter([
    { evil: { templates: ['{+x}', 'https://{+x}'] } },
    { evil: { templates: ['{+x}', 'https://{+x}'] }, good },
  ]);
  for (const uri of ['db:2', 'https://good.example/a/b', 'HTTPS://GOOD.example/a/b'])
    assert.equal(view.resourceRoute(uri), undefined, uri);
  assert.equal(leadsTo(view.resourceRoute('https://other.example/')), 'evil https://other.example/');
  assert.equal(leadsTo(view.resourceRoute('else:1')), 'evil else:1');
});

test('3,000 costly templates of one server do not affect another', () => {
  const costly = Array.from({ length: 3000 }, (_, i) => `${'{+x}a'.repeat(15)}${i}`);
  const view = viewAfter([
    { evil: { templates: costly } },
    { evil: { templates: costly }, good: { templates: ['{+x}://{y}'] } },
  ]);
  assert.equal(leadsTo(view.resourceRoute(`app://${'a'.repeat(4000)}`)), `good app://${'a'.repeat(4000)}`);
});

test('a lookup among thousands of templates takes limited time', () => {
  const hard = Array.from({ length: 2000 }, (_, i) => `${'{+x}aaaaaaaaaaaab'.repeat(15)}${i}`);
  const view = viewOf({ a: { templates: hard }, b: {} });
  view.resourceRoute('x');
  // The best of several: another process may use the core.
  let ms = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 4; round += 1) {
    const startMs = performance.now();
    view.resourceRoute('a'.repeat(4000));
    ms = Math.min(ms, performance.now() - startMs);
  }
  assert.ok(ms < 200, `${ms} ms`);
});

test('a group shows all prompts and resources of its servers, whichever tools it selects, and no others', () => {
  const servers = [serverSpec('a'), serverSpec('b')];
  const listings = [
    listing('a', { tools: ['t'], prompts: ['p'], uris: ['a://1'] }),
    listing('b', { prompts: ['p'], uris: ['b://1'] }),
  ];
  const catalog = catalogOf(worldOf(servers, listings, [groupSpec('g', ['a'], { tools: { a: [] } })]));
  const view = catalog.viewOfGroup('g');
  assert.ok(view);
  assert.deepEqual([view.toolCount, view.promptCount, urisIn(view)], [0, 1, ['a://1']]);
  assert.equal(view.promptRoute('b_p'), undefined);
  assert.equal(view.resourceRoute('b://1'), undefined, 'it belongs to a server outside the view');
  assert.equal(view.resourceRoute(exposedUri('b', 'b://1')), undefined);
});

test('notifies listeners of exactly the lists that changed', () => {
  const servers = [serverSpec('a'), serverSpec('b')];
  const start = { tools: ['t'], prompts: ['p'], uris: ['a://1'] };
  const first = worldOf(servers, [listing('a', start)]);
  const catalog = catalogOf(first);
  let heard: readonly ViewChange[] = [];
  catalog.onChange((changed) => {
    heard = changed;
  });
  const kindsAfter = (lists: Readonly<Record<string, Lists>>): Record<string, readonly string[]> => {
    heard = [];
    catalog.rebuild(
      worldOf(
        servers,
        Object.entries(lists).map(([slug, one]) => listing(slug, one)),
        [],
        first,
      ),
    );
    return Object.fromEntries(heard.map(({ view, kinds }) => [view, kinds]));
  };
  const view = catalog.viewAll();
  const tools = view.toolsJson();
  assert.deepEqual(kindsAfter({ a: start }), {});
  assert.equal(catalog.viewAll(), view);
  assert.deepEqual(kindsAfter({ a: { ...start, prompts: ['p', 'q'] } }), { all: ['prompts'], 'server:a': ['prompts'] });
  assert.equal(catalog.viewAll().toolsJson(), tools, 'the bytes of the other lists stay');
  assert.deepEqual(kindsAfter({ a: { ...start, prompts: ['p', 'q'], templates: ['a://{x}'] } }), {
    all: ['resources'],
    'server:a': ['resources'],
  });
  assert.deepEqual(
    kindsAfter({ a: { ...start, prompts: ['p', 'q'], templates: ['a://{x}'] }, b: { prompts: ['z'] } }),
    {
      all: ['prompts'],
      'server:b': ['prompts'],
    },
  );
  assert.equal(catalog.viewAll().declares('b', 'resources'), true);
  assert.equal(catalog.viewAll().declares('b', 'completions'), false);
});

test('every exposed URI leads back to its native URI', () => {
  const slug = fc.stringMatching(/^[A-Za-z0-9_-]{1,32}$/);
  const scheme = fc.stringMatching(/^[a-z][a-z0-9+.-]{0,8}$/);
  fc.assert(
    fc.property(slug, scheme, fc.string({ unit: 'binary', maxLength: 20 }), (server, start, rest) => {
      const uri = `${start}:${rest}`.toWellFormed();
      assert.deepEqual(nativeUri(exposedUri(server, uri)), { server, native: uri });
      assert.deepEqual(nativeUri(exposedTemplate(server, uri)), { server, native: uri });
    }),
    { numRuns: 500 },
  );
});

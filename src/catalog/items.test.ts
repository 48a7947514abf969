/**
 * Prompts, resources and templates as servers list them: repaired one by one where clients would reject the list, with
 * a digest for each list.
 */
// covers: B12
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ListPromptsResultSchema,
  ListResourcesResultSchema,
  ListResourceTemplatesResultSchema,
} from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { bytesOf, rawListing } from '../../test/support/catalog-worlds.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Listing, RawListing } from '../model/snapshot.ts';
import { wholeListing } from '../model/snapshot.ts';
import { buildListing } from './listing.ts';

const limits = limitsFrom({});

function list(more: Partial<RawListing>, before?: Listing): Listing {
  return buildListing(rawListing('s', more), limits, before);
}

const listOf = (...items: readonly unknown[]): Buffer[] =>
  items.map((item) => (typeof item === 'string' ? Buffer.from(item) : bytesOf(item)));

test('unchanged rows keep their exact text', () => {
  const prompt = '{ "arguments":[ {"name":"x","future":1} ], "name":"p","n":1.50}';
  const resource = '{"uri":"a://b" ,"name":"n","size":10000000000000000}';
  const template = '{"name":"t","uriTemplate":"a://{x}","_meta":{"a":1}}';
  const { prompts, resources, templates, hidden } = list({
    prompts: listOf(prompt),
    resources: listOf(resource),
    templates: listOf(template),
  });
  assert.deepEqual(
    [...prompts, ...resources, ...templates].map(({ native, json }) => [native, json]),
    [
      ['p', prompt],
      ['a://b', resource],
      ['a://{x}', template],
    ],
  );
  assert.deepEqual(hidden, []);
});

test('removes only invalid members, and reports them', () => {
  const { prompts, resources } = list({
    prompts: listOf({ name: 'p', title: 5, arguments: [{ name: 'ok' }, { description: 'no name' }, 'x'] }),
    resources: listOf({ uri: 'a://b', size: 'big', annotations: { priority: 7 }, icons: [{}] }),
  });
  assert.deepEqual(JSON.parse(prompts[0]?.json ?? ''), { name: 'p', arguments: [{ name: 'ok' }] });
  assert.match(prompts[0]?.repaired ?? '', /title removed.*arguments left out: 2/);
  assert.deepEqual(JSON.parse(resources[0]?.json ?? ''), { uri: 'a://b', name: 'a://b' });
  assert.match(resources[0]?.repaired ?? '', /size removed.*annotations removed|icons removed.*size removed/);
});

test('hides only rows whose address is missing, duplicate or contains invisible characters', () => {
  const { resources, prompts, templates, hidden } = list({
    prompts: listOf({ name: 'p' }, { name: 'p' }, {}),
    resources: listOf({ name: 'n' }, { uri: 'a://\u202Eb', name: 'n' }, { uri: 'a://ok', name: 'n' }, 'nonsense'),
    templates: listOf({ uriTemplate: `a://${'x'.repeat(5000)}`, name: 't' }),
  });
  assert.deepEqual([prompts.length, resources.length, templates.length], [1, 1, 0]);
  assert.deepEqual(
    hidden.map(({ kind, why }) => `${kind}: ${why}`),
    [
      'prompt: another prompt of this server has the same name',
      'prompt: the prompt has no name',
      'resource: the resource has no uri',
      'resource: the uri has control characters',
      'resource: the resource is not a JSON object',
      'template: the uriTemplate is longer than 4096 bytes',
    ],
  );
});

test('each list has its own digest, and the digest of the listing changes with each', () => {
  const empty = list({});
  const one = list({ prompts: listOf({ name: 'p' }) });
  assert.equal(one.digests.tool, empty.digests.tool);
  assert.equal(empty.digests.prompt, '');
  assert.notEqual(one.digests.prompt, '');
  assert.notEqual(one.digest, empty.digest);
  assert.notEqual(list({ declared: ['resources'] }).digest, empty.digest);
  assert.equal(list({ prompts: listOf({ name: 'p' }) }).digest, one.digest);
});

test('a list that could not be read keeps its content and digest, and reports why', () => {
  const before = list({ prompts: listOf({ name: 'p' }), resources: listOf({ uri: 'a://b', name: 'b' }) });
  const unread = [{ kind: 'prompt', why: 'it does not answer', late: true, rows: undefined, isWanted: true }] as const;
  const now = list({ prompts: undefined, resources: listOf({ uri: 'a://c', name: 'c' }), unread }, before);
  assert.deepEqual(now.prompts, before.prompts);
  assert.equal(now.digests.prompt, before.digests.prompt);
  assert.equal(now.resources[0]?.native, 'a://c');
  assert.deepEqual(now.hidden, [{ kind: 'prompt', native: '', why: 'it does not answer' }]);
  assert.deepEqual(list({ prompts: undefined }).prompts, []);
});

test('completes a listing of a version with tools only, without marking its tools as changed', () => {
  const { tools, digests } = list({ tools: listOf({ name: 'a', inputSchema: { type: 'object' } }) });
  const older = { server: 's', atMs: 1, digest: digests.tool, tools, instructions: '' };
  const whole = wholeListing({ ...older, hidden: [{ native: 'x', why: 'y' }] });
  assert.deepEqual([whole.prompts, whole.resources, whole.templates, whole.declared], [[], [], [], []]);
  assert.deepEqual(whole.hidden, [{ kind: 'tool', native: 'x', why: 'y' }]);
  assert.deepEqual(whole.digests, digests);
});

test('for any rows, clients accept the lists, and every valid row is in them', () => {
  const odd = fc.oneof(fc.jsonValue(), fc.constantFrom('x', 1, null, [], {}, true));
  const row = (key: string) =>
    fc
      .dictionary(
        fc.constantFrom(
          'title',
          'description',
          'icons',
          'arguments',
          '_meta',
          'annotations',
          'size',
          'mimeType',
          'name',
        ),
        odd,
      )
      .chain((rest) => fc.string({ minLength: 1, maxLength: 6 }).map((address) => ({ ...rest, [key]: address })));
  const rows = fc.tuple(
    fc.array(row('name'), { maxLength: 4 }),
    fc.array(row('uri'), { maxLength: 4 }),
    fc.array(row('uriTemplate'), { maxLength: 4 }),
  );
  fc.assert(
    fc.property(rows, ([prompts, resources, templates]) => {
      const listing = list({
        prompts: listOf(...prompts, { name: 'good prompt' }),
        resources: listOf(...resources, { uri: 'good://one', name: 'x' }),
        templates: listOf(...templates, { uriTemplate: 'good://{x}', name: 'x' }),
      });
      const parsed = (items: Listing['prompts']): unknown[] => items.map(({ json }) => JSON.parse(json));
      ListPromptsResultSchema.parse({ prompts: parsed(listing.prompts) });
      ListResourcesResultSchema.parse({ resources: parsed(listing.resources) });
      ListResourceTemplatesResultSchema.parse({ resourceTemplates: parsed(listing.templates) });
      assert.equal(listing.prompts.at(-1)?.native, 'good prompt');
      assert.equal(listing.resources.at(-1)?.native, 'good://one');
      assert.equal(listing.templates.at(-1)?.native, 'good://{x}');
    }),
    { numRuns: 500 },
  );
});

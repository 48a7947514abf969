/**
 * An invalid tool is hidden or repaired alone. The tests validate with the list schemas of both SDK generations, which
 * reject a whole list for one tool.
 * covers: B12
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListToolsResultSchema as SecondSdkList } from '@modelcontextprotocol/core';
import { ListToolsResultSchema as FirstSdkList } from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { bytesOf, rawListing } from '../../test/support/catalog-worlds.ts';
import { longestTurnMs } from '../../test/support/loop-turns.ts';
import { limitsFrom } from '../config/limits.ts';
import type { Listing } from '../model/snapshot.ts';
import { createRuntime, systemRuntimeOptions } from '../runtime/runtime.ts';
import { buildListing, buildListingInTurns } from './listing.ts';

const limits = limitsFrom({});

function list(...tools: readonly unknown[]): Listing {
  const buffers = tools.map((tool) => Buffer.from(typeof tool === 'string' ? tool : JSON.stringify(tool)));
  return buildListing(rawListing('s', { atMs: 7, tools: buffers, instructions: 'be kind' }), limits);
}

const schema = { type: 'object' } as const;
const good = { name: 'good', inputSchema: schema };

test('an unchanged tool keeps its exact text: key order, unknown keys, spaces, large numbers', () => {
  const text =
    '{ "zeta" : 12345678901234567890, "inputSchema": {"$defs":{"a":{}},"type":"object"}, "name": "a\\u0062", "icons":[{"src":"x"}]}';
  const { tools } = list(text);
  assert.equal(tools[0]?.json, text);
  assert.equal(tools[0]?.native, 'ab');
  assert.equal(tools[0]?.repaired, undefined);
});

test('repairs an inputSchema that is missing, null or without type', () => {
  const { tools } = list(
    { name: 'a' },
    { name: 'b', inputSchema: null },
    '{"name":"c","inputSchema":{"properties":{"x":{"const":12345678901234567890}}},"last":1}',
    { name: 'd', inputSchema: { type: ['object', 'null'] } },
  );
  assert.deepEqual(
    tools.map(({ json }) => json),
    [
      '{"name":"a","inputSchema":{"type":"object"}}',
      '{"name":"b","inputSchema":{"type":"object"}}',
      '{"name":"c","inputSchema":{"properties":{"x":{"const":12345678901234567890}},"type":"object"},"last":1}',
      '{"name":"d","inputSchema":{"type":"object"}}',
    ],
  );
  assert.ok(tools.every(({ repaired }) => repaired?.includes('inputSchema')));
});

test('hides only the tool whose inputSchema is not an object schema, with the reason', () => {
  const { tools, hidden } = list({ name: 'a', inputSchema: true }, good, {
    name: 'b',
    inputSchema: { type: 'string' },
  });
  assert.deepEqual(
    tools.map(({ native }) => native),
    ['good'],
  );
  assert.deepEqual(
    hidden.map(({ native }) => native),
    ['a', 'b'],
  );
  assert.match(hidden[1]?.why ?? '', /not of type object/);
});

test('removes an outputSchema of another type, and marks structured results to be removed', () => {
  const { tools } = list(
    { ...good, outputSchema: { type: 'array', items: {} } },
    { ...good, name: 'fine', outputSchema: schema },
  );
  assert.equal(tools[0]?.json, JSON.stringify(good));
  assert.equal(tools[0]?.dropStructured, true);
  assert.equal(tools[1]?.dropStructured, false);
  assert.equal(tools[1]?.repaired, undefined);
});

test('replaces boolean properties by equivalent schemas', () => {
  const { tools } = list(
    '{"name":"a","inputSchema":{"type":"object","properties":{"x":true,"y":false,"z":{"k":1e400}}}}',
  );
  assert.equal(
    tools[0]?.json,
    '{"name":"a","inputSchema":{"type":"object","properties":{"x":{},"y":{"not":{}},"z":{"k":1e400}}}}',
  );
});

test('truncates a long description at a character boundary with an ellipsis', () => {
  for (const unit of ['x', '가', '👩', '\n', '"', '\\']) {
    const { tools } = list({ ...good, description: unit.repeat(40_000) });
    const { description } = JSON.parse(tools[0]?.json ?? '') as { description: string };
    assert.ok(Buffer.byteLength(description) <= limits.descriptionBytes);
    assert.ok(Buffer.byteLength(description) > limits.descriptionBytes - 8);
    assert.ok(description.endsWith('…') && unit.repeat(40_000).startsWith(description.slice(0, -1)));
  }
});

test('keeps a description that is long only in its escapes', () => {
  const text = `{"name":"a","description":"${'\\u0041'.repeat(limits.descriptionBytes)}","inputSchema":{"type":"object"}}`;
  assert.equal(list(text).tools[0]?.json, text);
  const longer = list(text.replace('\\u0041', '\\u0041\\u0041')).tools[0];
  assert.match(longer?.repaired ?? '', /cut/);
});

// row F3 · guards src/catalog/listing.ts
test('checks sizes and depth before parsing', () => {
  const { tools, hidden } = list(
    { name: 'wide', inputSchema: { type: 'object', x: 'x'.repeat(limits.schemaBytes) } },
    { name: 'text', inputSchema: 'x'.repeat(limits.schemaBytes + 1) },
    { ...good, name: 'fat', _meta: { x: 'x'.repeat(limits.schemaBytes + 1) } },
    `{"name":"deep","inputSchema":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    good,
  );
  assert.deepEqual(
    tools.map(({ native }) => native),
    ['good'],
  );
  assert.deepEqual(
    hidden.map(({ native }) => native),
    ['wide', 'text', 'fat', 'deep'],
  );
});

test('hides a tool whose name is missing, empty, duplicate or contains control characters', () => {
  const { tools, hidden } = list(
    good,
    good,
    { inputSchema: schema },
    { ...good, name: '' },
    { ...good, name: 'a\u0007b' },
    {
      ...good,
      name: 'a\u202eb',
    },
    { ...good, name: 5 },
    { ...good, name: 'n'.repeat(600) },
    '{"name":"x","name":"y","inputSchema":{"type":"object"}}',
  );
  assert.equal(tools.length, 1);
  assert.equal(hidden.length, 8);
  assert.ok(hidden.every(({ native }) => !/[\p{Cc}\p{Cf}]/u.test(native)));
});

test('hides only the tool that is not JSON', () => {
  const broken = [
    '',
    '5',
    '[]',
    '{',
    '{"name":"a"',
    '{"name":"a",}',
    '{"name":"a"}}',
    '{"name":"a" "b":1}',
    '{"name":"a","x":tru}',
    '{"name":"a","x":[1,]}',
    '\u0000',
  ];
  const { tools, hidden } = list(...broken, good);
  assert.equal(hidden.length, broken.length);
  assert.deepEqual(
    tools.map(({ native }) => native),
    ['good'],
  );
});

test('hides tools above the limit, lists up to a hundred of them and counts the rest', () => {
  const few = { ...limits, serverTools: 3 };
  const tools = Array.from({ length: 500 }, (_, i) => Buffer.from(JSON.stringify({ ...good, name: `t${i}` })));
  const listing = buildListing(rawListing('s', { tools }), few);
  assert.equal(listing.tools.length, 3);
  assert.equal(listing.hidden.length, 101);
  assert.equal(listing.hidden.at(-1)?.native, 'and 397 more');
});

test('the digest changes only with the tools', () => {
  const one = list(good);
  assert.equal(list(good).digest, one.digest);
  assert.equal(
    buildListing(rawListing('other', { atMs: 99, tools: [bytesOf(good)], instructions: 'be kind' }), limits).digest,
    one.digest,
  );
  assert.notEqual(list({ ...good, description: 'new' }).digest, one.digest);
  assert.notEqual(list({ ...good, outputSchema: { type: 'array' } }).digest, one.digest);
});

test('for any tools, both SDKs accept the list, and every valid tool is in it', () => {
  const json = fc.jsonValue({ maxDepth: 3 });
  const member = (...likely: readonly fc.Arbitrary<unknown>[]) =>
    fc.option(fc.oneof(json, ...likely), { nil: undefined });
  const properties = fc.dictionary(fc.string(), fc.oneof(fc.boolean(), json));
  const schemas = fc.record(
    {
      type: fc.constantFrom<unknown>('object', 'array', ['object'], null),
      properties: fc.oneof(json, properties),
      required: fc.oneof(json, fc.array(fc.string())),
    },
    { requiredKeys: [] },
  );
  const tool = fc.record({
    name: fc.oneof(fc.string(), json),
    title: member(fc.string()),
    description: member(fc.string()),
    inputSchema: member(schemas),
    outputSchema: member(schemas),
    annotations: member(fc.record({ title: json, readOnlyHint: json }, { requiredKeys: [] })),
    icons: member(
      fc.array(fc.record({ src: fc.oneof(fc.string(), json), sizes: json, theme: json }, { requiredKeys: ['src'] })),
    ),
    execution: member(fc.record({ taskSupport: json })),
    _meta: member(fc.object()),
  });
  fc.assert(
    fc.property(fc.array(tool, { maxLength: 5 }), (tools) => {
      const listing = list(...tools, good);
      const text = `{"tools":[${listing.tools.map(({ json: one }) => one).join(',')}]}`;
      for (const schemaOfList of [FirstSdkList, SecondSdkList]) {
        const result = schemaOfList.safeParse(JSON.parse(text));
        assert.ok(result.success, `${text}\n${result.error?.message}`);
      }
      assert.ok(listing.tools.some(({ native }) => native === 'good'));
      assert.equal(listing.tools.length + listing.hidden.length, tools.length + 1);
      const again = list(...listing.tools.map(({ json: one }) => one));
      assert.deepEqual(
        again.tools.map(({ repaired }) => repaired),
        listing.tools.map(() => undefined),
        'a repaired tool needs no repair',
      );
    }),
    { numRuns: 300 },
  );
});

test('never throws, for any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(70), (noise, at) => {
      const text = Buffer.from(JSON.stringify({ ...good, description: 'a\\"b', x: [{}, [1, 'y']] }));
      const bytes = Buffer.concat([text.subarray(0, at), noise, text.subarray(at + noise.length)]);
      for (const { json } of buildListing(rawListing('s', { tools: [bytes] }), limits).tools) JSON.parse(json);
    }),
    { numRuns: 2000 },
  );
});

test('buildListingInTurns returns the same listing and yields to the event loop', async () => {
  const runtime = createRuntime(systemRuntimeOptions);
  const tools = Array.from({ length: 2000 }, (_, i) =>
    Buffer.from(JSON.stringify({ ...good, name: `t${i}`, description: 'd'.repeat(300) })),
  );
  const raw = rawListing('s', { tools });
  let turns = 0;
  using _counting = runtime.timers.every(0, () => {
    turns += 1;
  });
  const deadline = runtime.deadline(5000);
  assert.deepEqual(
    await buildListingInTurns(raw, { runtime, limits, before: undefined }, deadline),
    buildListing(raw, limits),
  );
  assert.ok(turns >= 3, `${turns} turns`);
});

test('a description of 10 MiB, also of escapes only, takes less than a heartbeat', () => {
  for (const unit of ['x', '\\"', '\\\\']) {
    const text = `{"name":"a","description":"${unit.repeat((10 << 20) / unit.length)}","inputSchema":{"type":"object"}}`;
    const bytes = Buffer.from(text);
    // CPU time of this thread: a busy machine delays wall clock time.
    const before = process.threadCpuUsage();
    const listing = buildListing(rawListing('s', { tools: [bytes] }), { ...limits, listingBytes: 64 << 20 });
    const { user, system } = process.threadCpuUsage(before);
    const ms = (user + system) / 1000;
    assert.match(listing.tools[0]?.repaired ?? '', /cut/);
    assert.ok(ms < 100, `${ms} ms`);
  }
});

test('hides rows above listingBytes without parsing them', () => {
  const row = (name: string) =>
    Buffer.from(JSON.stringify({ name, inputSchema: { type: 'object' }, x: 'x'.repeat(1000) }));
  const tools = Array.from({ length: 10 }, (_, at) => row(`t${at}`));
  const listing = buildListing(rawListing('s', { tools: [...tools, Buffer.from('no JSON at all')] }), {
    ...limits,
    listingBytes: 3 * (tools[0]?.length ?? 0),
  });
  assert.deepEqual(
    listing.tools.map(({ native }) => native),
    ['t0', 't1', 't2'],
  );
  assert.equal(listing.hidden.length, 8);
  assert.match(listing.hidden[0]?.why ?? '', /more bytes of tools than listingBytes/);
});

test('yields to the event loop while it reads 4 MiB of tools whose schemas all declare headers', async () => {
  const properties = Object.fromEntries(
    Array.from({ length: 50 }, (_, at) => [`p${at}`, { type: 'string', 'x-mcp-header': `H${at}` }]),
  );
  const tool = (name: string) => Buffer.from(JSON.stringify({ name, inputSchema: { type: 'object', properties } }));
  const tools = Array.from({ length: 1500 }, (_, at) => tool(`t${at}`));
  const bad = Buffer.from(JSON.stringify({ name: 'bad', inputSchema: { type: 'object', 'x-mcp-header': 'Up' } }));
  const raw = rawListing('s', { tools: [...tools, bad], repeats: true });
  const runtime = createRuntime();
  using deadline = runtime.deadline(60_000);
  const read = () => buildListingInTurns(raw, { runtime, limits, before: undefined }, deadline);
  await read(); // compiled by now
  let listing: Listing | undefined;
  const turnMs = await longestTurnMs(async () => {
    listing = await read();
  });
  assert.equal(listing?.tools.length, 1500);
  assert.match(listing?.hidden[0]?.why ?? '', /not at a plain property/);
  // A step takes 5 ms; all in one turn takes 90 ms or more.
  assert.ok(turnMs < 30, `${turnMs} ms`);
});

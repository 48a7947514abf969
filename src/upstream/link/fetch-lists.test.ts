/**
 * Lists other than tools: those that a server declares are read, a failure hides one list only, and tools alone decide
 * about a server.
 */
// covers: B12
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig } from '../../../test/support/fleet-rig.ts';
import { settle } from '../../../test/support/scripted-transport.ts';

const ALL = { tools: {}, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {}, other: {} };

/** The newest request of this method gets this answer. */
async function answer(rig: FleetRig, method: string, result: object): Promise<void> {
  rig.life.reply(rig.life.last(method).id, result);
  await settle();
}

function read(rig: FleetRig): Record<string, string[] | undefined> {
  const raw = rig.registry.rawListing('scripted');
  const texts = (list: readonly Buffer[] | undefined) => list?.map((item) => item.toString());
  return { prompts: texts(raw?.prompts), resources: texts(raw?.resources), templates: texts(raw?.templates) };
}

/** A server that answers all four lists at once. */
async function whole(): Promise<FleetRig> {
  const rig = await FleetRig.ready({ script: { capabilities: ALL } });
  await answer(rig, 'prompts/list', { prompts: [{ name: 'p' }] });
  await answer(rig, 'resources/list', { resources: [{ uri: 'a://b' }] });
  await answer(rig, 'resources/templates/list', { resourceTemplates: [{ uriTemplate: 'a://{x}' }] });
  assert.equal(rig.state(), 'ready');
  return rig;
}

/** The newest request of this method gets this error. */
async function refuse(rig: FleetRig, method: string, code: number, message: string): Promise<void> {
  rig.life.say({ id: rig.life.last(method).id, error: { code, message } });
  await settle();
}

// case: SV2
test('a server is asked for the lists that it declares, and for tools, side by side, and for no others', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: { prompts: {} }, lists: false } });
  assert.deepEqual(
    rig.life.sent.map(({ method }) => method).filter((method) => method.endsWith('/list')),
    ['tools/list', 'prompts/list'],
  );
  await refuse(rig, 'tools/list', -32601, 'Method not found');
  await answer(rig, 'prompts/list', { prompts: [{ name: 'p' }], nextCursor: 'more' });
  assert.deepEqual(rig.life.last('prompts/list').params, { cursor: 'more' });
  await answer(rig, 'prompts/list', { prompts: [{ name: 'q' }] });
  assert.deepEqual(read(rig), { prompts: ['{"name":"p"}', '{"name":"q"}'], resources: [], templates: [] });
  const status = rig.registry.status('scripted');
  assert.deepEqual([status?.unread, status?.declaresNothing], [undefined, undefined]);
  await rig.pass(120_000);
  assert.equal(rig.life.of('tools/list').length, 1, 'what it neither declares nor knows is not asked for again');
  await rig.close();
});

test('all four come in one listing, with what the server declares', async () => {
  const rig = await whole();
  assert.equal(rig.listed.length, 1);
  assert.deepEqual(read(rig), {
    prompts: ['{"name":"p"}'],
    resources: ['{"uri":"a://b"}'],
    templates: ['{"uriTemplate":"a://{x}"}'],
  });
  const declared = rig.registry.rawListing('scripted')?.declared;
  assert.deepEqual(declared, ['tools', 'prompts', 'resources', 'completions', 'logging', 'subscribe']);
  const status = rig.registry.status('scripted');
  assert.deepEqual([status?.tools, status?.prompts, status?.resources, status?.templates], [1, 1, 1, 1]);
  await rig.close();
});

test('an error for one list hides that one; the others and the server are well', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: ALL } });
  await answer(rig, 'resources/list', { resources: 'none' });
  await answer(rig, 'prompts/list', { prompts: [{ name: 'p' }] });
  const { id } = rig.life.last('resources/templates/list');
  rig.life.say({ id, error: { code: -32601, message: 'Method not found' } });
  await settle();
  assert.equal(rig.state(), 'ready');
  assert.deepEqual(read(rig), { prompts: ['{"name":"p"}'], resources: undefined, templates: undefined });
  const unread = rig.registry.rawListing('scripted')?.unread ?? [];
  assert.deepEqual(unread.map(({ kind, late }) => `${kind} ${late}`).sort(), ['resource false', 'template false']);
  assert.ok(unread.some(({ why }) => why.includes('Method not found')));
  const { isWanted } = unread.find(({ kind }) => kind === 'template') ?? {};
  assert.equal(isWanted, false, 'a server that knows no such method is not asked again for it');
  await rig.close();
});

test('a list that hangs keeps the server from being ready for two seconds, and is read again in the background', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: { tools: {}, prompts: {} } } });
  assert.equal(rig.state(), 'connecting');
  await rig.pass(2000);
  assert.equal(rig.state(), 'ready');
  assert.equal(rig.registry.rawListing('scripted')?.unread[0]?.late, true);
  await rig.pass(2500);
  assert.equal(rig.life.of('prompts/list').length, 2);
  await answer(rig, 'prompts/list', { prompts: [{ name: 'slow' }] });
  assert.deepEqual(read(rig).prompts, ['{"name":"slow"}']);
  await rig.close();
});

test('a list that cannot be read again keeps what was read last', async () => {
  const rig = await whole();
  rig.life.say({ method: 'notifications/prompts/list_changed' });
  rig.life.say({ method: 'notifications/resources/list_changed' });
  await rig.pass(2500);
  assert.equal(rig.life.of('prompts/list').length, 2, 'both notices are one');
  await answer(rig, 'resources/list', { resources: [{ uri: 'a://new' }] });
  await answer(rig, 'resources/templates/list', { resourceTemplates: [] });
  await rig.pass(rig.limits.listMs + 100);
  assert.deepEqual(read(rig), { prompts: ['{"name":"p"}'], resources: ['{"uri":"a://new"}'], templates: [] });
  assert.equal(rig.state(), 'ready');
  assert.equal(rig.lives.length, 1);
  await rig.close();
});

test('a connection that ends while the lists are read is no listing', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: ALL } });
  rig.registry.restart('scripted');
  await settle();
  assert.equal(rig.listed.length, 0);
  assert.equal(rig.facts('server-was-lost').length, 1);
  await rig.close();
});

/** Returns the times at which this method was requested, since the first request, s. */
function askedAfter(rig: FleetRig, sentMs: readonly number[]): number[] {
  assert.equal(rig.life.of('tools/list').length, sentMs.length);
  return sentMs.map((ms) => Math.round((ms - (sentMs[0] ?? 0)) / 1000));
}

/** Plays a server whose tools/list is answered by `answers` for `forMs`; returns when it was asked. */
async function played(rig: FleetRig, forMs: number, answers: () => void): Promise<number[]> {
  const sentMs: number[] = [];
  for (let ms = 0; ms <= forMs; ms += 250) {
    while (sentMs.length < rig.life.of('tools/list').length) {
      sentMs.push(rig.nowMs);
      answers();
      await settle();
    }
    if (ms < forMs) await rig.pass(250);
  }
  return sentMs;
}

const EMPTY_ANSWERS: readonly (readonly [what: string, capabilities: unknown])[] = [
  ['an empty object', {}],
  ['an empty array', []],
  ['null', null],
  ['nothing', undefined],
];

// case: SV2, SV21
for (const [what, capabilities] of [...EMPTY_ANSWERS, ['tools', { tools: {} }] as const])
  test(`a server that declares ${what} and lists nothing is asked again after 2, 5, 15 and 60 s`, async () => {
    const rig = await FleetRig.ready({ script: { capabilities: capabilities as object, lists: false } });
    const reply = () => rig.life.reply(rig.life.last('tools/list').id, { tools: [] });
    const sentMs = await played(rig, 200_000, reply);
    assert.deepEqual(askedAfter(rig, sentMs), [0, 2, 5, 15, 60]);
    const status = rig.registry.status('scripted');
    const declaresNothing = what === 'tools' ? undefined : true;
    assert.deepEqual([status?.state, status?.declaresNothing], ['ready', declaresNothing]);
    assert.equal(rig.listed.length, 1, 'the same empty list is no news');
    await rig.close();
  });

// case: SV21
test('tools that come late are found within seconds, and not asked for again', async () => {
  const rig = await FleetRig.ready({ script: { lists: false } });
  const sentMs = await played(rig, 120_000, () => {
    const isLate = sentCount(rig) > 3;
    rig.life.reply(rig.life.last('tools/list').id, { tools: isLate ? [{ name: 'late' }] : [] });
  });
  assert.deepEqual(askedAfter(rig, sentMs), [0, 2, 5, 15]);
  assert.deepEqual(rig.listed, ['', '{"name":"late"}']);
  await rig.close();
});

function sentCount(rig: FleetRig): number {
  return rig.life.of('tools/list').length;
}

// case: SV20
test('a server whose tools/list is refused is ready with its prompts, and asked for tools until it gives them', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: ALL, lists: false } });
  await answer(rig, 'prompts/list', { prompts: [{ name: 'p' }] });
  await answer(rig, 'resources/list', { resources: [] });
  await answer(rig, 'resources/templates/list', { resourceTemplates: [] });
  const refused = () => rig.life.say({ id: rig.life.last('tools/list').id, error: { code: -32603, message: 'Oh no' } });
  refused();
  await settle();
  assert.equal(rig.state(), 'ready');
  assert.deepEqual(read(rig).prompts, ['{"name":"p"}']);
  const [unread] = rig.registry.status('scripted')?.unread ?? [];
  assert.deepEqual([unread?.kind, unread?.rows, /Oh no/.test(unread?.why ?? '')], ['tool', undefined, true]);
  const listed = rig.listed.length;
  let asked = 1;
  for (let ms = 0; ms < 200_000; ms += 250) {
    await rig.pass(250);
    if (sentCount(rig) === asked) continue;
    asked += 1;
    for (const [method, member] of [
      ['prompts', 'prompts'],
      ['resources', 'resources'],
      ['resources/templates', 'resourceTemplates'],
    ] as const)
      rig.life.reply(rig.life.last(`${method}/list`).id, { [member]: member === 'prompts' ? [{ name: 'p' }] : [] });
    refused();
    await settle();
  }
  assert.equal(asked, 1 + 4 + 2, 'after 2, 5, 15 and 60 s and then each minute');
  assert.equal(rig.listed.length, listed, 'the same refusal is no news');
  assert.equal(rig.facts('lists-unread').length, 1);
  rig.script.lists = true;
  await rig.pass(65_000);
  assert.equal(rig.registry.status('scripted')?.tools, 1);
  await rig.close();
});

// case: SV16
test('a page that fails costs the pages behind it, never the one before, nor a longer list that is known', async () => {
  const rig = await FleetRig.ready({ script: { lists: false } });
  const page = async (names: string[], nextCursor?: string) =>
    answer(rig, 'tools/list', { tools: names.map((name) => ({ name })), nextCursor });
  await page(['a', 'b'], 'two');
  await refuse(rig, 'tools/list', -32602, 'Invalid cursor');
  assert.deepEqual([rig.state(), rig.listed.at(-1)], ['ready', '{"name":"a"},{"name":"b"}']);
  const noteOf = () =>
    rig.registry.status('scripted')?.unread?.map(({ kind, rows, why }) => [kind, rows, /Invalid cursor/.test(why)]);
  assert.deepEqual(noteOf(), [['tool', 2, true]]);
  await rig.pass(2500);
  await page(['a', 'b'], 'two');
  await page(['c']);
  assert.deepEqual(rig.listed.at(-1), '{"name":"a"},{"name":"b"},{"name":"c"}');
  assert.equal(noteOf(), undefined);
  rig.life.say({ method: 'notifications/tools/list_changed' });
  await rig.pass(2500);
  await page(['a', 'b'], 'two');
  await refuse(rig, 'tools/list', -32602, 'Invalid cursor');
  assert.deepEqual(rig.listed.at(-1), '{"name":"a"},{"name":"b"},{"name":"c"}', 'the longer one stays');
  assert.deepEqual(noteOf(), [['tool', 2, true]], 'and that is said');
  await rig.close();
});

// case: SV50
test('lists of a server that announces no changes are read again every five minutes, give or take ten percent', async () => {
  for (const [random, afterMs] of [
    [0, 270_000],
    [0.999, 330_000],
  ] as const) {
    const rig = await FleetRig.ready({ random: () => random });
    rig.script.tools = [{ name: 'other' }];
    await rig.pass(afterMs - 2000);
    assert.equal(sentCount(rig), 1);
    await rig.pass(4000);
    assert.deepEqual([sentCount(rig), rig.listed.at(-1)], [2, '{"name":"other"}']);
    rig.script.tools = [{ name: 'third' }];
    await rig.pass(afterMs);
    assert.deepEqual([sentCount(rig), rig.listed.at(-1)], [3, '{"name":"third"}']);
    await rig.close();
  }
});

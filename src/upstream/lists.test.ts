/**
 * The lists beside the tools: what a server declares is read, what fails hides only itself, and nothing but the tools decides about a server.
 */
// covers: B12
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig } from '../../test/support/fleet-rig.ts';
import { settle } from '../../test/support/scripted-transport.ts';

const ALL = { tools: {}, prompts: {}, resources: { subscribe: true }, completions: {}, logging: {}, other: {} };

/** The newest request of this method gets this answer. */
async function answer(rig: FleetRig, method: string, result: object): Promise<void> {
  rig.life.reply(rig.life.last(method).id, result);
  await settle();
}

function read(rig: FleetRig): Record<string, string[] | undefined> {
  const raw = rig.fleet.rawListing('scripted');
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

test('a server is asked for the lists that it declares, side by side, and for no others', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: { prompts: {} } } });
  assert.deepEqual(
    rig.life.sent.map(({ method }) => method).filter((method) => method.endsWith('/list')),
    ['prompts/list'],
  );
  await answer(rig, 'prompts/list', { prompts: [{ name: 'p' }], nextCursor: 'more' });
  assert.deepEqual(rig.life.last('prompts/list').params, { cursor: 'more' });
  await answer(rig, 'prompts/list', { prompts: [{ name: 'q' }] });
  assert.deepEqual(read(rig), { prompts: ['{"name":"p"}', '{"name":"q"}'], resources: [], templates: [] });
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
  const declared = rig.fleet.rawListing('scripted')?.declared;
  assert.deepEqual(declared, ['tools', 'prompts', 'resources', 'completions', 'logging', 'subscribe']);
  const status = rig.fleet.status('scripted');
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
  const unread = rig.fleet.rawListing('scripted')?.unread ?? [];
  assert.deepEqual(unread.map(({ kind, late }) => `${kind} ${late}`).sort(), ['resource false', 'template false']);
  assert.ok(unread.some(({ why }) => why.includes('Method not found')));
  await rig.pass(10_000);
  assert.equal(rig.life.of('prompts/list').length, 1, 'what was refused is not asked again and again');
  await rig.close();
});

test('a list that hangs keeps the server from being ready for two seconds, and is read again in the background', async () => {
  const rig = await FleetRig.ready({ script: { capabilities: { tools: {}, prompts: {} } } });
  assert.equal(rig.state(), 'connecting');
  await rig.pass(2000);
  assert.equal(rig.state(), 'ready');
  assert.equal(rig.fleet.rawListing('scripted')?.unread[0]?.late, true);
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
  rig.fleet.restart('scripted');
  await settle();
  assert.equal(rig.listed.length, 0);
  assert.equal(rig.facts('server-was-lost').length, 1);
  await rig.close();
});

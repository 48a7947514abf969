// covers: P1, B2
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listingOf, serverSpec, worldOf } from '../../test/support/catalog-worlds.ts';
import { PipelineRig, richRig, shown } from '../../test/support/pipeline-rig.ts';
import { isRefusal } from '../model/outcome.ts';

test('tools/list shows every tool under its exposed name, and how each server stands', async () => {
  const rig = new PipelineRig();
  rig.statuses.set('files', {
    ...{ state: 'waiting', cause: 'stderr of it', publicCause: 'it crashed', reference: '1a2b3c4d', tools: 2 },
  });
  const { tools, _meta } = shown(await rig.ask('tools/list'));
  assert.deepEqual(
    tools.map(({ name }: { name: string }) => name),
    ['git_log', 'git_show', 'files_read', 'files_write'],
  );
  assert.deepEqual(_meta['mcphub/servers'], {
    git: { state: 'ready', tools: 2 },
    files: { state: 'waiting', tools: 2, stale: true, cause: 'it crashed', reference: '1a2b3c4d' },
  });
});

test('a list of a hung server’s tools is answered in the same turn, without asking anybody', () => {
  const rig = new PipelineRig();
  rig.statuses.set('git', { state: 'waiting', cause: 'silent', tools: 2 });
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
  assert.equal(rig.pipeline.answer(rig.incoming(message)) instanceof Promise, false);
  assert.equal(rig.asked.length, 0);
});

test('the other lists are answered in the same way, also when they are empty, with and without params', async () => {
  const rig = new PipelineRig();
  const rows = async (method: string, member: string, params?: object) => {
    const { [member]: list, _meta } = shown(await rig.ask(method, params));
    return [list, _meta['mcphub/servers'].git];
  };
  assert.deepEqual(await rows('prompts/list', 'prompts'), [[], { state: 'ready', prompts: 1 }]);
  assert.deepEqual(await rows('resources/list', 'resources', {}), [[], { state: 'ready', resources: 1 }]);
  assert.deepEqual(await rows('resources/templates/list', 'resourceTemplates'), [[], { state: 'ready', templates: 1 }]);
  const full = richRig();
  assert.deepEqual(await full.ask('prompts/list').then((reply) => shown(reply).prompts), [
    { name: 'git_review', title: 'review' },
  ]);
  const { resources } = shown(await full.ask('resources/list'));
  assert.deepEqual(
    resources.map(({ uri }: { uri: string }) => uri),
    ['git://head', 'files://x', 'mcphub://files/git%3A%2F%2Fhead'],
  );
  const { resourceTemplates } = shown(await full.ask('resources/templates/list'));
  assert.deepEqual(resourceTemplates, [{ uriTemplate: 'git://{commit}', name: 't' }]);
  assert.equal(full.asked.length, 0);
});

test('any cursor is a foreign one; null and the empty one are none', async () => {
  const rig = new PipelineRig();
  for (const method of ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']) {
    assert.equal(shown(await rig.ask(method, { cursor: 'x' })), 'invalid-params');
    for (const cursor of [null, '']) assert.equal(isRefusal(await rig.ask(method, { cursor })), false);
  }
});

test('a list that is asked for before a server was ever listed waits for it, and ends when it is lost or its time is up', async () => {
  for (const ending of ['listed', 'lost', 'time'] as const) {
    const snapshot = new PipelineRig().snapshots.current;
    const rig = new PipelineRig({ snapshot: { servers: [...snapshot.servers, serverSpec('new')] } });
    rig.statuses.set('new', { state: 'connecting', tools: 0 });
    let isOver = false;
    const list = rig.ask('tools/list').then((reply) => {
      isOver = true;
      return reply;
    });
    await rig.frozen.advanceAsync(1000);
    assert.equal(isOver, false);
    assert.deepEqual(
      rig.frozen.runtime.waits.table().map(({ label }) => label),
      ['first-catalog'],
    );
    if (ending === 'time') {
      rig.read.add('new');
      rig.statuses.set('new', { state: 'ready', tools: 1 });
      await rig.frozen.advanceAsync(rig.limits.firstCatalogMs);
      assert.equal(shown(await list)._meta['mcphub/servers'].new.state, 'connecting', 'its tools are not in the list');
    } else {
      rig.statuses.set('new', { state: ending === 'listed' ? 'ready' : 'waiting', tools: 0 });
      if (ending === 'listed') {
        rig.read.add('new');
        rig.frozen.runtime.bus.publish({ type: 'server-listed', server: 'new', tools: 1, changed: true, repaired: [] });
        await rig.frozen.advanceAsync(100);
        assert.equal(isOver, false, 'what it listed is being taken in');
        const { servers, listings, groups } = rig.snapshots.current;
        rig.catalog.rebuild(worldOf(servers, [...listings, listingOf('new', ['x'])], groups));
      } else rig.frozen.runtime.bus.publish({ type: 'server-stopped', server: 'new', reason: 'broken' });
    }
    assert.equal(shown(await list).tools.length, ending === 'listed' ? 5 : 4, ending);
    assert.equal(rig.frozen.runtime.waits.size, 0);
    assert.equal(rig.frozen.runtime.wheel.size, 0);
  }
});

test('nobody waits for a server that is known, that failed before, or that comes long after the start', async () => {
  const snapshot = new PipelineRig().snapshots.current;
  const servers = [...snapshot.servers, serverSpec('new')];
  const now = (rig: PipelineRig): boolean =>
    !(rig.pipeline.answer(rig.incoming({ jsonrpc: '2.0', id: 1, method: 'tools/list' })) instanceof Promise);
  const known = new PipelineRig();
  known.statuses.set('git', { state: 'connecting' });
  assert.equal(now(known), true);
  const failed = new PipelineRig({ snapshot: { servers } });
  failed.statuses.set('new', { state: 'connecting', restarts: 1 });
  assert.equal(now(failed), true);
  const late = new PipelineRig({ snapshot: { servers } });
  late.statuses.set('new', { state: 'connecting' });
  late.frozen.advance(late.limits.firstCatalogMs + 100);
  assert.equal(now(late), true);
});

test('offerings say what the caller’s group really has, without a session', async () => {
  const rig = new PipelineRig();
  const none = { tools: false, prompts: false, resources: false, logging: true };
  assert.deepEqual(shown(await rig.ask('offerings/list')), { offerings: { ...none, tools: true } });
  const all = { tools: true, prompts: true, resources: true, logging: true };
  assert.deepEqual(shown(await richRig().ask('offerings/list')), { offerings: all });
  const empty = new PipelineRig({ snapshot: { servers: [], listings: [], names: [] } });
  assert.deepEqual(shown(await empty.ask('offerings/list', {})), { offerings: none });
});

test('initialize echoes each supported version and answers any other with the newest', async () => {
  const rig = new PipelineRig();
  for (const version of ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'])
    assert.equal(shown(await rig.ask('initialize', { protocolVersion: version })).protocolVersion, version);
  for (const version of ['2026-07-28', '1.0', '9999-01-01', 5, null])
    assert.equal(shown(await rig.ask('initialize', { protocolVersion: version })).protocolVersion, '2025-11-25');
});

test('initialize declares all lists and carries the instructions of the servers that the caller sees', async () => {
  const snapshot = new PipelineRig().snapshots.current;
  const listings = snapshot.listings.map((listing) => ({ ...listing, instructions: `how to use ${listing.server}` }));
  const rig = new PipelineRig({ snapshot: { listings } });
  const hello = shown(await rig.ask('initialize', { protocolVersion: '2025-11-25' }));
  const changes = { listChanged: true };
  const { tools, prompts, resources, completions } = hello.capabilities;
  assert.deepEqual([tools, prompts, completions], [changes, changes, {}]);
  assert.equal(resources.listChanged, true);
  assert.match(hello.instructions, /how to use git[\s\S]+how to use files/);
  const limited = shown(await rig.ask('initialize', { protocolVersion: '2025-11-25' }, rig.context({ key: 'c' })));
  assert.match(limited.instructions, /how to use git/);
  assert.equal(limited.instructions.includes('files'), false);
});

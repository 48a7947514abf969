/**
 * A call whose client leaves or cancels it, and one whose key is revoked, while it waits in each of the places between
 * its arrival and the reply of its server.
 */
// covers: A4, L6
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bytesOf, listingWith, serverSpec, worldOf } from '../../test/support/catalog-worlds.ts';
import { until } from '../../test/support/hub.ts';
import { PipelineRig, shown } from '../../test/support/pipeline-rig.ts';
import { Refusal } from '../model/outcome.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Session } from '../session/sessions.ts';

interface Place {
  readonly name: string;
  readonly method: string;
  readonly params: object;
  /** Labels of the waits that belong to the call. */
  readonly waits: readonly string[];
  /** Makes the call wait there. */
  hold(rig: PipelineRig): void;
  /** Ends what the call waited for, after the call has ended. */
  release(rig: PipelineRig): void;
}

const CALL_NEW = { method: 'tools/call', params: { name: 'new_tool', arguments: {} } };

function becomeReady(rig: PipelineRig): void {
  rig.read.add('new');
  rig.statuses.set('new', { state: 'ready', tools: 1 });
  const { current } = rig.snapshots;
  const resource = bytesOf({ uri: 'new://x', name: 'x' });
  const listing = listingWith('new', [{ name: 'tool', inputSchema: { type: 'object' } }], { resources: [resource] });
  const { names } = worldOf(current.servers, [...current.listings, listing], []);
  rig.snapshots.swap({ ...current, revision: 2, listings: [...current.listings, listing], names });
  rig.catalog.rebuild(rig.snapshots.current);
}

function start(rig: PipelineRig): void {
  rig.statuses.set('new', { state: 'connecting', tools: 0 });
}

const FIRST_CATALOG = { waits: ['first-catalog'], hold: start, release: becomeReady };

const PLACES: readonly Place[] = [
  { name: 'the first catalog, for a list', method: 'tools/list', params: {}, ...FIRST_CATALOG },
  {
    ...{ name: 'the first catalog, for a resource', method: 'resources/read', params: { uri: 'new://x' } },
    ...FIRST_CATALOG,
  },
  {
    ...{ name: 'a server that was never listed', ...CALL_NEW, waits: ['link-ready'] },
    hold(rig) {
      const { waits } = rig.frozen.runtime;
      rig.whenReady = (_server, deadline, owner) =>
        waits
          .for(new Promise<undefined>(() => {}), { label: 'link-ready', owner, deadline })
          .catch(() => new Refusal('server-starting'));
    },
    release: becomeReady,
  },
  {
    ...{ name: 'the first list of a server that is ready', ...CALL_NEW, waits: ['first-catalog'] },
    hold: () => {},
    release: becomeReady,
  },
  {
    ...{ name: 'a name that another worker may know', method: 'tools/call', params: { name: 'late' } },
    // The question itself ends by its own deadline; it is shared with other calls.
    ...{ waits: [], hold: () => {}, release: () => {} },
  },
  {
    ...{ name: 'its server', method: 'tools/call', params: { name: 'git_log', arguments: {} }, waits: [] },
    hold(rig) {
      rig.reply = (_server, { budget }) =>
        new Promise((resolve) => budget.deadline.onEnd(() => resolve(new Refusal('client-gone'))));
    },
    release: () => {},
  },
];

interface Ending {
  readonly code: string;
  end(call: { readonly rig: PipelineRig; readonly session: Session | undefined; readonly leave: () => void }): void;
}

const ENDINGS: readonly Ending[] = [
  { code: 'client-gone', end: ({ leave }) => leave() },
  {
    code: 'cancelled',
    end({ rig, session }) {
      const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
      const visitor = rig.context({ sessionId: session?.id });
      assert.equal(shown(rig.pipeline.answer(rig.incoming(cancel, { visitor })) as never), 'accepted');
    },
  },
  {
    code: 'key-revoked',
    end({ rig: { frozen, snapshots } }) {
      const revoked = new Refusal('key-revoked');
      frozen.runtime.openWork.checkWith(
        () => revoked,
        () => ({}) as Snapshot,
      );
      frozen.runtime.openWork.recheck(snapshots.current, () => {});
    },
  },
];

describe('a call that is not wanted any more', () => {
  let directory: string;
  let worker: string;
  let questions = 0;
  const sockets = new Set<Socket>(); // bounded by: the questions of a test
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', () => {
      questions += 1;
    });
    socket.on('error', () => {});
  });
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'abandoned-'));
    worker = join(directory, 'worker-2.sock');
    await new Promise<void>((done) => server.listen(worker, done));
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await rm(directory, { recursive: true });
  });

  for (const place of PLACES)
    for (const { code, end } of ENDINGS)
      test(`ends with ${code} while it waits for ${place.name}, and leaves nothing behind`, async () => {
        const isLate = place.name.includes('another worker');
        const snapshot = new PipelineRig().snapshots.current;
        const servers = isLate ? snapshot.servers : [...snapshot.servers, serverSpec('new')];
        const rig = new PipelineRig({ snapshot: { servers }, ...(isLate ? { workers: [worker] } : {}) });
        const { runtime, facts } = rig.frozen;
        const session = code === 'cancelled' ? await rig.open() : undefined;
        place.hold(rig);
        const asked = questions;
        let leave = (): void => {};
        const visitor = rig.context({ sessionId: session?.id });
        const onGone = (listener: () => void): void => {
          leave = listener;
        };
        const { method, params } = place;
        const message = { jsonrpc: '2.0', id: 1, method, params };
        let answer: unknown;
        void Promise.resolve(rig.pipeline.answer(rig.incoming(message, { visitor, onGone }))).then((outcome) => {
          answer = shown(outcome);
        });
        if (isLate) await until(() => questions > asked, 5000, 'the question to the other worker');
        else await rig.frozen.advanceAsync(50);
        assert.equal(answer, undefined, 'it waits');
        const before = rig.asked.length;
        const own = (): string[] =>
          runtime.waits.table().flatMap(({ label, owner }) => (owner.startsWith('r-') ? [label] : []));
        assert.deepEqual(own(), place.waits);

        end({ rig, session, leave });
        await rig.frozen.advanceAsync(1);
        assert.equal(answer, code);
        assert.deepEqual(own(), []);
        assert.deepEqual([rig.admission.inFlight, runtime.openWork.size], [0, 0]);
        for (const { call } of rig.asked) assert.notEqual(call.budget.deadline.ended, undefined);

        place.release(rig);
        await rig.frozen.advanceAsync(10_000);
        assert.equal(rig.asked.length, before, 'its server gets nothing afterwards');
        const events = facts.flatMap((fact) =>
          fact.type === 'call-answered' && fact.method === method ? [fact.code] : [],
        );
        assert.deepEqual(events, [code], 'one event');
      });

  test('does not begin when its client has left before', async () => {
    const rig = new PipelineRig();
    const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'git_log', arguments: {} } };
    const gone = { isGone: () => true };
    assert.equal(shown(await rig.pipeline.answer(rig.incoming(message, gone))), 'client-gone');
    assert.deepEqual([rig.asked.length, rig.admission.inFlight], [0, 0]);
    const { id: sessionId } = await rig.open();
    const kept = rig.incoming(message, { ...gone, visitor: rig.context({ sessionId }) });
    assert.deepEqual(shown(await rig.pipeline.answer(kept)), { content: [] }, 'a session may be returned to');
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } };
    assert.equal(shown(await rig.pipeline.answer(rig.incoming(cancel, gone))), 'accepted', 'a cancel still counts');
  });
});

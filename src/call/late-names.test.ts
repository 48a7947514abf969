/** Names that another worker knows, with a simulated worker and a frozen clock. */
// covers: A4
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { until } from '../../test/support/hub.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { View } from '../catalog/view.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { Access, OpenItem } from '../runtime/open-item.ts';
import type { Call } from './call.ts';
import { LateNames } from './late-names.ts';

const VIEW = { kind: 'groups', slugs: ['a', 'b'] } as const;

interface Place {
  readonly names: LateNames;
  /** Paths that were requested from the other worker. */
  readonly asked: string[];
  /** The answer of the other worker; if undefined, the test answers. */
  status: number | undefined;
  readonly unanswered: ServerResponse[];
  /** Advances the clock. */
  pass(ms: number): Promise<void>;
  /** Adds the name here. */
  list(name: string): void;
  find(name: string, owner?: string): Promise<string | undefined> | undefined;
  /** Ends the calls that `find` has made so far. */
  cancel(): void;
  /** Labels of the waits that are open. */
  readonly waits: () => string[];
}

async function place(t: TestContext): Promise<Place> {
  const { runtime, advance } = frozenRuntime();
  const directory = await mkdtemp(join(tmpdir(), 'names-'));
  const socket = join(directory, 'hub-2.sock');
  const listed = new Set<string>(); // bounded by: a test's names
  const listeners = new Set<() => void>(); // bounded by: a test's calls
  const view = { route: (name: string) => (listed.has(name) ? name : undefined) };
  const catalog = {
    viewOfGroups: () => view,
    onRebuilt: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Catalog;
  const others = () => [socket, join(directory, 'gone.sock')];
  const names = new LateNames({ runtime, limits: { nameQuestionsPerKey: 2 }, catalog, others });
  const access = { principal: {}, viewName: VIEW, snapshot: {} } as unknown as Access;
  const calls: OpenItem[] = []; // bounded by: a test's calls
  const made: Place = {
    ...{ names, asked: [], status: 404, unanswered: [] },
    waits: () => runtime.waits.table().map(({ label }) => label),
    cancel() {
      for (const open of calls) runtime.openWork.end(open, new Refusal('cancelled'));
    },
    async pass(ms) {
      await setImmediate();
      advance(ms);
      await setImmediate();
    },
    list(name) {
      listed.add(name);
      for (const tell of listeners) tell();
    },
    find(name, owner = 'key') {
      const open = runtime.openWork.add('call', access);
      assert.ok(!isRefusal(open));
      calls.push(open);
      const call = { owner, viewName: VIEW, open, requestId: 'r' } as unknown as Call;
      return names.find(name, call, { kind: 'tool', routeIn: (now: View) => now.route(name) as unknown as string });
    },
  };
  const server: Server = createServer((request, response) => {
    made.asked.push(request.url ?? '');
    if (made.status === undefined) made.unanswered.push(response);
    else response.writeHead(made.status).end();
  });
  await new Promise<void>((done) => server.listen(socket, done));
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });
  return made;
}

// case: SV24d
test('a name that another worker knows is waited for, and one that none knows is unknown at once', async (t) => {
  const made = await place(t);
  assert.equal(await made.find('missing'), undefined);
  made.status = 200;
  const late = made.find('late');
  await until(() => made.asked.length === 2, 5000, 'the question');
  made.list('late');
  assert.equal(await late, 'late');
  assert.deepEqual(
    made.asked.map((path) => decodeURIComponent(path)),
    [`/names/tool/${JSON.stringify(VIEW)}/missing`, `/names/tool/${JSON.stringify(VIEW)}/late`],
  );
});

// case: SV24d
test('calls of one name share a question, which is never older than they are', async (t) => {
  const made = await place(t);
  made.status = undefined;
  const before = made.find('one');
  await until(() => made.unanswered.length === 1, 5000, 'the first question');
  // The other worker has answered before it learned the name; the answer is on its way.
  const after = Array.from({ length: 20 }, () => made.find('one'));
  made.status = 200;
  made.unanswered[0]?.writeHead(404).end();
  assert.equal(await before, undefined);
  made.list('one');
  await made.pass(50);
  assert.deepEqual(
    await Promise.all(after),
    after.map(() => 'one'),
  );
  assert.equal(made.asked.length, 2);
});

// case: SV24d
test('a key asks for a few names at once, and another key is not held up by it', async (t) => {
  const made = await place(t);
  const asked = ['a', 'b', 'c', 'd'].map((name) => made.find(name));
  assert.deepEqual(
    asked.map((one) => one !== undefined),
    [true, true, false, false],
  );
  assert.ok(made.find('c', 'other'));
  await Promise.all(asked);
  assert.equal(made.find('e'), undefined, 'its places are taken for a while');
  await made.pass(50);
  assert.ok(made.find('e'));
  assert.equal(made.find('x'.repeat(10_000), 'third'), undefined, 'too long to be asked');
});

test('a cancelled call does not wait for a name that another worker knows', async (t) => {
  const made = await place(t);
  made.status = undefined;
  const before = made.find('one');
  await until(() => made.unanswered.length === 1, 5000, 'the question');
  made.cancel();
  made.unanswered[0]?.writeHead(200).end();
  assert.equal(await before, undefined);
  assert.deepEqual(made.waits(), []);
  made.status = 200;
  const during = made.find('two');
  await until(() => made.waits().includes('first-catalog'), 5000, 'the wait for its list');
  made.cancel();
  assert.equal(await during, undefined);
  assert.deepEqual(made.waits(), []);
});

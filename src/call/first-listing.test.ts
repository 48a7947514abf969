/**
 * A call by name to a server that has never been listed, with a simulated registry and catalog.
 */
// covers: A4, L8
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Catalog } from '../catalog/catalog.ts';
import type { Route } from '../catalog/route.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Access, OpenItem } from '../runtime/open-item.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import type { ServerRegistry } from '../upstream/registry.ts';
import type { Call } from './call.ts';
import { FirstListing } from './first-listing.ts';

const ROUTE = { exposed: 'my_files_read', server: 'my-files', native: 'read' } as unknown as Route;

interface World {
  readonly runtime: Runtime;
  readonly first: FirstListing;
  readonly call: Call;
  /** This process has read the server's list. */
  read(): void;
  /** The catalog has it from now on. */
  list(): void;
  readonly asked: string[];
}

function snapshot(options: {
  ready: (deadline: Deadline) => Outcome<undefined> | Promise<Outcome<undefined>>;
  listed?: string[];
  limits?: Partial<Limits>;
}): World {
  const runtime = createRuntime();
  const asked: string[] = [];
  let isListed = false;
  const listeners = new Set<() => void>(); // bounded by: the calls of a test
  const view = {
    servers: ['my', 'my-files', 'other'],
    route: (name: string) => (isListed && name === ROUTE.exposed ? ROUTE : undefined),
  };
  const registry = {
    whenReady: (server: string, deadline: Deadline) => {
      asked.push(server);
      return options.ready(deadline);
    },
  } as unknown as ServerRegistry;
  const catalog = {
    viewAll: () => view,
    isListed: (slug: string) => isListed && slug === 'my-files',
    onRebuilt: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  } as unknown as Catalog;
  const listings = (options.listed ?? []).map((server) => ({ server }));
  const access = { principal: {}, viewName: { kind: 'all' }, snapshot: { listings } } as unknown as Access;
  const open = runtime.openWork.add('call', access) as OpenItem;
  return {
    runtime,
    asked,
    first: new FirstListing({ runtime, limits: { ...limitsFrom({}), ...options.limits }, registry, catalog }),
    call: { requestId: 'r1', view, open, ...access } as unknown as Call,
    read() {
      runtime.bus.publish({ type: 'server-listed', server: 'my-files', tools: 1, changed: true, repaired: [] });
    },
    list() {
      isListed = true;
      for (const tell of listeners) tell();
    },
  };
}

function routeTo({ first, call }: World, name: string): Promise<Outcome<Route>> | undefined {
  return first.routeTo(name, call, { kind: 'tool', routeIn: (view) => view.route(name) }, new Refusal('unknown-tool'));
}

test('a name that no unlisted server can own is not waited for', () => {
  const made = snapshot({ ready: () => undefined, listed: ['my', 'my-files'] });
  for (const name of ['read', 'nobody_read', 'myfiles_read', 'my_files_read', 'my-files'])
    assert.equal(routeTo(made, name), undefined, name);
  assert.deepEqual(made.asked, []);
});

test('the server with the longest fitting slug is asked, in any spelling, and the name leads somewhere when its list is there', async () => {
  const made = snapshot({ ready: () => undefined });
  const found = routeTo(made, 'my_files_read');
  made.list();
  assert.equal(await found, ROUTE);
  assert.deepEqual(made.asked, ['my-files']);
  assert.equal(made.runtime.waits.size, 0);
  assert.equal(routeTo(made, 'other2_x'), undefined);
});

test('a list that was read and is not in the catalog yet is waited for', async () => {
  const made = snapshot({ ready: () => undefined });
  made.read();
  const found = routeTo(made, 'my_files_read');
  const isOver = await Promise.race([found?.then(() => true), setImmediate(false)]);
  assert.equal(isOver, false);
  made.list();
  assert.equal(await found, ROUTE);
});

test('a listed server without that tool: the name is unknown', async () => {
  const made = snapshot({ ready: () => undefined });
  const found = routeTo(made, 'my_files_write');
  made.list();
  const answer = await found;
  assert.ok(isRefusal(answer) && answer.code === 'unknown-tool');
});

test('a server that does not come up is named with phase, waited time and setting', async () => {
  const down = new Refusal('server-down', 'my-files is not reachable', { server: 'my-files', phase: 'connect' });
  const made = snapshot({ ready: async () => down });
  const answer = await routeTo(made, 'my_files_read');
  assert.ok(isRefusal(answer) && answer.code === 'server-down');
  assert.equal(answer.detail.server, 'my-files');
  assert.equal(answer.detail.phase, 'connect');
  assert.equal(typeof answer.detail.waitedMs, 'number');
  assert.equal(answer.detail.setting, 'handshakeMs');
});

test('a list that is never told of ends the wait at its limit', async () => {
  const made = snapshot({ ready: () => undefined, limits: { handshakeMs: 50 } });
  const answer = await routeTo(made, 'my_files_read');
  assert.ok(isRefusal(answer) && answer.code === 'unknown-tool');
  assert.equal(made.runtime.waits.size, 0);
});

test('a cancelled call waits no longer', async () => {
  let readyBy: Deadline | undefined;
  const made = snapshot({
    ready: (deadline) => {
      readyBy = deadline;
      return new Promise((resolve) => deadline.onEnd(() => resolve(new Refusal('cancelled'))));
    },
  });
  const found = routeTo(made, 'my_files_read');
  assert.equal(readyBy?.ended, undefined);
  made.runtime.openWork.end(made.call.open, new Refusal('cancelled'));
  assert.equal(readyBy?.ended, 'cancelled');
  assert.ok(isRefusal(await found));
  assert.equal(made.runtime.waits.size, 0);
});

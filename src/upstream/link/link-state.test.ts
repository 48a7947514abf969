/** Stages of a link: what is seen of each, what outlasts them, and when waiting callers continue. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetRig } from '../../../test/support/fleet-rig.ts';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { HubError } from '../../model/errors.ts';
import { LinkStateTracker } from './link-state.ts';

const FAULT = new HubError('upstream-exit', { message: 'it exited' });

function tracker() {
  const frozen = frozenRuntime();
  return { ...frozen, state: new LinkStateTracker(frozen.runtime.clock) };
}

/** Counts how often callers that wait for the state continue. */
function settledCount(state: LinkStateTracker) {
  let count = 0;
  const follow = (): void => {
    void state.settled.then(() => {
      count += 1;
    });
  };
  follow();
  return { follow, count: () => count };
}

test('the time of the next attempt exists only while the link waits for it', async () => {
  const { state, advanceAsync } = tracker();
  assert.equal(state.view.retryMs, undefined);
  state.begin('connect');
  assert.deepEqual([state.view.state, state.view.phase, state.view.retryMs], ['connecting', 'connect', undefined]);
  state.backOff(FAULT, 5000, 1);
  await advanceAsync(2000);
  const { view } = state;
  assert.deepEqual([view.state, view.phase, view.retryMs, view.sinceMs], ['waiting', undefined, 3000, 2000]);
  assert.deepEqual([view.restarts, view.deaths], [1, 1]);
  state.begin('connect');
  assert.deepEqual([state.view.state, state.view.retryMs], ['connecting', undefined]);
});

test('shows why the last connection ended until the server is ready again', () => {
  const { state } = tracker();
  state.begin();
  assert.equal(state.view.fault, undefined);
  state.backOff(FAULT, 0, 1);
  state.begin('start');
  assert.equal(state.view.fault, FAULT);
  state.sleep(FAULT);
  assert.deepEqual([state.view.state, state.view.fault], ['asleep', FAULT]);
});

test('callers that wait continue when an attempt has failed, and wait for the next one', async () => {
  const { state, advanceAsync } = tracker();
  const settled = settledCount(state);
  state.begin('connect');
  await advanceAsync(1);
  assert.equal(settled.count(), 0);
  state.backOff(FAULT, 1000, 1);
  await advanceAsync(1);
  assert.equal(settled.count(), 1);
  settled.follow();
  state.begin('connect');
  await advanceAsync(1);
  assert.equal(settled.count(), 1);
});

test('nothing follows a stop, and what the stop ended is still shown', async () => {
  const { state, runtime, advanceAsync } = tracker();
  const settled = settledCount(state);
  state.begin('connect');
  using until = runtime.deadline(1000);
  state.stop(until);
  await advanceAsync(1);
  assert.equal(settled.count(), 1);
  state.begin('connect');
  state.backOff(FAULT, 1000, 1);
  state.sleep(FAULT);
  assert.deepEqual([state.state, state.view.retryMs, state.connection], ['stopped', undefined, undefined]);
});

test('a silence limit is raised once, and never lowered', () => {
  const { state } = tracker();
  assert.deepEqual([state.raise(100), state.raise(100), state.raise(50), state.raise(200)], [true, false, false, true]);
  assert.equal(state.view.raisedMs, 200);
});

test('a server keeps its name and its last lines of stderr while it is down', async () => {
  const rig = await FleetRig.ready();
  const name = rig.registry.status('scripted')?.serverInfo;
  assert.ok(name);
  rig.life.events.closed(FAULT);
  await rig.pass(10);
  const status = rig.registry.status('scripted');
  assert.deepEqual([status?.state, status?.serverInfo, status?.cause], ['waiting', name, 'it exited']);
  assert.ok((status?.retryMs ?? 0) > 0);
  await rig.pass(2000);
  assert.deepEqual([rig.state(), rig.registry.status('scripted')?.retryMs], ['ready', undefined]);
  await rig.close();
});

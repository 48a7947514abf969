import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import type { ReportedStatus } from '../relay/relay-messages.ts';
import { RequestCounts } from '../runtime/request-counts.ts';
import { reportStates } from './state-reports.ts';

function rig() {
  const frozen = frozenRuntime();
  const sent: (readonly ReportedStatus[])[] = [];
  const used: (readonly string[])[] = [];
  let keys: string[] = [];
  reportStates({
    runtime: frozen.runtime,
    relay: { sendStatuses: (statuses) => sent.push(statuses), sendUsedKeys: (ids) => used.push(ids) },
    statuses: () => [],
    requests: () => new RequestCounts().totals(),
    awaitingRestart: () => [],
    takeUsedKeys: () => keys.splice(0),
  });
  return {
    ...frozen,
    sent,
    used,
    use(ids: string[]) {
      keys = ids;
    },
  };
}

test('reports states at the start, without waiting for the first second', () => {
  assert.equal(rig().sent.length, 1);
});

test('reports a change of state in the turn after it, once for several changes', () => {
  const { runtime, sent, advance } = rig();
  runtime.bus.publish({ type: 'server-phase-entered', server: 'a', phase: 'list' });
  runtime.bus.publish({ type: 'server-stopped', server: 'a', reason: 'test' });
  advance(5);
  assert.equal(sent.length, 2);
  advance(100);
  assert.equal(sent.length, 2);
});

test('an event that changes no state of a server causes no report', () => {
  const { runtime, sent, advance } = rig();
  runtime.bus.publish({ type: 'control-found' });
  advance(100);
  assert.equal(sent.length, 1);
});

test('reports every second in any case, and used keys with it', () => {
  const { sent, used, use, advance } = rig();
  use(['k1']);
  advance(1000);
  assert.equal(sent.length, 2);
  assert.deepEqual(used, [['k1']]);
  advance(1000);
  assert.deepEqual(used, [['k1']]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { scriptedSpec, settle } from '../../../test/support/scripted-transport.ts';
import { limitsFrom } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome } from '../../model/outcome.ts';
import type { Connection } from '../connection/connection.ts';
import { LinkStateTracker } from './link-state.ts';
import { untilReady } from './not-ready.ts';
import type { LinkKind } from './reconnect-backoff.ts';

function waiting(kind: LinkKind) {
  const { runtime, advance } = frozenRuntime();
  const state = new LinkStateTracker(runtime.clock);
  const fault = new HubError('server-down', { message: 'no socket' });
  const fail = (): void => {
    state.begin('connect');
    state.backOff(fault, 100, 1);
  };
  fail();
  const link = { runtime, limits: limitsFrom({}), state, spec: scriptedSpec(), kind };
  let outcome: Outcome<undefined> | 'waits' = 'waits';
  void untilReady(link, runtime.deadline(60_000), 'a test').then((ended) => {
    outcome = ended;
  });
  const code = () => (isRefusal(outcome) ? outcome.code : outcome);
  return { state, fail, advance, code };
}

test('a call waits for the attempts to reach another worker', async () => {
  const { state, fail, code } = waiting('forward');
  for (let nth = 0; nth < 3; nth += 1) {
    fail();
    await settle();
    assert.equal(code(), 'waits');
  }
  state.begin('connect');
  state.becomeReady({} as Connection, { version: '2025-11-25' } as never);
  await settle();
  assert.equal(code(), undefined);
});

test('it waits for five seconds, and for a server of this worker until one attempt has failed', async () => {
  const forward = waiting('forward');
  forward.advance(5100);
  forward.fail();
  await settle();
  assert.equal(forward.code(), 'server-down');
  const local = waiting('local');
  local.fail();
  await settle();
  assert.equal(local.code(), 'server-down');
});

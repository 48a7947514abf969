import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenKernel } from '../../test/support/frozen-kernel.ts';
import { scriptedSpec } from '../../test/support/scripted-transport.ts';
import { HubError } from '../kernel/errors.ts';
import { HeldElsewhere, makeRoom, mayHaveSession, watchHolder, withLostSession } from './_held-elsewhere.ts';
import type { Holder } from './session-holders.ts';

const LEFT = [{ id: 's', version: undefined, file: 'f' }];
const NOBODY = { isHeldAt: async () => true, through: () => () => assert.fail('not asked for') };

async function roomWith(holder: Holder): Promise<{ readonly ended: number; readonly isMade: boolean }> {
  const { kernel } = frozenKernel();
  using deadline = kernel.deadline(1000);
  let ended = 0;
  const session = {
    isOpen: false,
    left: async () => LEFT,
    async end() {
      ended += 1;
      return true;
    },
  };
  const isMade = await makeRoom({ session }, 'one', { ...NOBODY, find: async () => holder }, deadline);
  return { ended, isMade };
}

// case: SV24
test('what a killed worker has left is ended only when no worker holds a session, and all have said so', async () => {
  assert.deepEqual(await roomWith('none'), { ended: 1, isMade: true });
  assert.deepEqual(await roomWith('unknown'), { ended: 0, isMade: false });
  await assert.rejects(
    roomWith({ peer: '/hub-2' }),
    (fault) => fault instanceof HeldElsewhere && fault.peer === '/hub-2',
  );
});

// case: SV24
test('only an answer that refuses the request may mean that there is a session already', () => {
  const http = (status: number) => new HubError('upstream-http', { detail: { status } });
  for (const status of [400, 409, 422, 423]) assert.ok(mayHaveSession(http(status)), String(status));
  for (const status of [404, 405, 429, 500, 502, 503]) assert.ok(!mayHaveSession(http(status)), String(status));
  assert.ok(mayHaveSession(new HubError('upstream-protocol')));
  assert.ok(!mayHaveSession(new HubError('upstream-auth', { detail: { status: 401 } })));
  assert.ok(!mayHaveSession(new HubError('upstream-connect')));
});

// case: SV24
test('the cause says that the server may hold a session that the hub does not know', () => {
  const words = (message: string): string =>
    (withLostSession(new HubError('upstream-http', { message, detail: { status: 400 } })) as HubError).message;
  assert.match(words('HTTP 400: Server already initialized'), /may hold a session of an earlier start/);
  assert.match(words('HTTP 400: Only one session allowed'), /may hold a session/);
  assert.equal(words('HTTP 400: bad request'), 'HTTP 400: bad request');
});

// case: SV24
test('a connection through another worker ends when that one has no session, or is silent three times', async () => {
  for (const [answers, looks, mayAnswer] of [
    [[true, false, false, false, false, false], 2, true],
    [[undefined, true, undefined, undefined, undefined], 5, false],
  ] as const) {
    const { kernel, advanceAsync } = frozenKernel();
    let asked = 0;
    let isLost = false;
    let tries = 0;
    const isHeldAt = async () => {
      asked += 1;
      return asked > answers.length ? true : answers[asked - 1];
    };
    const sharing = { ...NOBODY, isHeldAt, find: async () => 'none' as const };
    const connection = {
      peer: '/hub-2',
      lose() {
        isLost = true;
      },
    };
    const tryOwn = () => {
      tries += 1;
    };
    let gone = 0;
    const on = {
      tryOwn,
      gone() {
        gone += 1;
      },
    };
    using _ = watchHolder({ kernel, sharing, spec: scriptedSpec() }, connection, on);
    await advanceAsync(250 * (looks - 1) + 100);
    assert.deepEqual([isLost, gone], [false, 0]);
    await advanceAsync(250);
    assert.deepEqual([isLost, gone], [!mayAnswer, 1]);
    await advanceAsync(1000);
    assert.deepEqual([isLost, gone], [!mayAnswer, 1], 'said once');
    await advanceAsync(5 * 60_000);
    assert.equal(tries, 1);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { scriptedSpec } from '../../../test/support/scripted-transport.ts';
import { HubError } from '../../model/errors.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { UpstreamReply } from '../call.ts';
import type { Holder } from '../single-session/session-holders.ts';
import type { LeftSession } from '../single-session/session-memory.ts';
import { HeldElsewhere, makeRoom, mayHaveSession, watchHolder, withLostSession } from './held-elsewhere.ts';

const HELLO = { version: '2025-06-18', name: 'one', serverVersion: '1', instructions: '', capabilities: {} };
const LEFT = ['f', 'g'].map((file) => ({
  id: `session-${file}`,
  version: undefined,
  idsBelow: 10,
  hello: HELLO,
  file,
}));
const NOBODY = { isHeldAt: async () => true, through: () => () => assert.fail('not asked for') };

interface Room {
  readonly ended: number;
  readonly made: boolean | InitializeResult;
  readonly events: readonly string[];
}

/** `answers` = to ping in each session that is taken; a server that gives none ends sessions. */
async function roomWith(holder: Holder, answers?: readonly Outcome<UpstreamReply>[]): Promise<Room> {
  const { runtime } = frozenRuntime();
  using deadline = runtime.deadline(1000);
  let ended = 0;
  const events: string[] = [];
  const session = {
    isOpen: false,
    left: async () => LEFT,
    async end() {
      ended += 1;
      return answers === undefined;
    },
    known: () => assert.fail('not asked for'),
    async take({ file, idsBelow }: LeftSession) {
      events.push(`take ${file}`);
      return idsBelow;
    },
    drop: async () => void events.push('drop'),
    giveUp: async () => void events.push('give up'),
  };
  const transport = {
    session,
    negotiated: (version: string | undefined) => void events.push(`version ${version}`),
    forgetSession: () => void events.push('forget'),
  };
  const backoff = [...(answers ?? [])];
  const correlator = {
    ids: { takeId: () => assert.fail('not asked for'), startFrom: (id: number) => void events.push(`ids ${id}`) },
    ask: ({ method }: { readonly method: string }) => {
      events.push(method);
      return backoff.shift() ?? assert.fail('one question too many');
    },
  };
  const sharing = { ...NOBODY, find: async () => holder };
  const made = await makeRoom({ server: 'one', transport, correlator, sharing }, deadline);
  return { ended, made, events };
}

// case: SV24
test('what a killed worker has left is ended only when no worker holds a session, and all have said so', async () => {
  assert.deepEqual(await roomWith('none'), { ended: 1, made: true, events: [] });
  assert.deepEqual(await roomWith('unknown'), { ended: 0, made: false, events: [] });
  await assert.rejects(
    roomWith({ peer: '/hub-2' }),
    (fault) => fault instanceof HeldElsewhere && fault.peer === '/hub-2',
  );
});

// case: SV24c
test('a session that the server does not end is used on in, with ids that are new to it, where ping is answered', async () => {
  const take = (file: string): readonly string[] => [`take ${file}`, 'ids 10', 'version 2025-06-18', 'ping'];
  const result: UpstreamReply = { kind: 'result', json: Buffer.from('{}') };
  const unknown = new Refusal('upstream-session');
  const silent = new Refusal('upstream-connect');
  assert.deepEqual(await roomWith('none', [result]), { ended: 1, made: HELLO, events: take('f') });
  const lacking: UpstreamReply = { kind: 'error', json: Buffer.from('{"code":-32601,"message":"no ping"}') };
  assert.deepEqual((await roomWith('none', [lacking])).made, HELLO);
  const second = await roomWith('none', [unknown, result]);
  assert.deepEqual(second, { ended: 1, made: HELLO, events: [...take('f'), 'drop', 'forget', ...take('g')] });
  const none = await roomWith('none', [silent, silent]);
  const back = ['give up', 'forget'];
  assert.deepEqual(none, { ended: 1, made: false, events: [...take('f'), ...back, ...take('g'), ...back] });
  assert.equal((await roomWith('unknown', [])).ended, 0);
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
    const { runtime, advanceAsync } = frozenRuntime();
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
    using _ = watchHolder({ runtime, sharing, spec: scriptedSpec() }, connection, on);
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

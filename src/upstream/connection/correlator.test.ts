// covers: L1, L2
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FleetRig, textOf } from '../../../test/support/fleet-rig.ts';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { ScriptedTransport, script, settle } from '../../../test/support/scripted-transport.ts';
import { limitsFrom } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { isRefusal, Refusal } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import { Correlator, requestTable } from './correlator.ts';
import { InvalidMessages } from './invalid-messages.ts';
import { MessageRouter } from './message-router.ts';
import { NotificationRate } from './notification-rate.ts';
import type { RequestOptions } from './pending-request.ts';
import { QuotedReplies } from './quoted-replies.ts';
import { ReplyMatcher } from './reply-matcher.ts';
import { UnownedAnswers } from './unowned-answers.ts';

const NO_EVENTS = {
  message() {},
  failed() {},
  alive() {},
  phase() {},
  sessionLost() {},
  closed() {},
  unreadable() {},
  said() {},
  learned() {},
  unmatched() {},
  question() {},
};

function bare() {
  const frozen = frozenRuntime();
  const { runtime } = frozen;
  const transport = new ScriptedTransport(script({ hello: false, lists: false, pongs: false }), NO_EVENTS);
  const changed: number[] = [];
  const limits = limitsFrom({});
  const invalid = new InvalidMessages(runtime, 's');
  const requests = requestTable(runtime);
  const unowned = new UnownedAnswers(runtime);
  const rate = new NotificationRate(runtime, limits, 's');
  const correlator: Correlator = new Correlator({
    runtime,
    server: 's',
    transport,
    requests,
    unowned,
    invalid,
    rate,
    owner: { mayCancel: () => true },
  });
  const replies = new ReplyMatcher({ server: 's', requests, unowned, invalid, correlator });
  const router = new MessageRouter({
    runtime,
    limits,
    invalid,
    rate,
    correlator,
    replies,
    clientSide: { notice() {}, question: () => false, takenBack() {} },
    listChanged: () => changed.push(1),
  });
  transport.events.message = (envelope, exchange) => router.take(envelope, exchange);
  const plan = (ms = 1000): RequestOptions => ({
    method: 'tools/call',
    label: 'upstream-call',
    owner: 'a test',
    budget: new CallBudget(runtime.deadline(ms), 'totalMs'),
    back: SILENT_BACK_CHANNEL,
  });
  return { ...frozen, transport, correlator, replies, changed, plan };
}

test('a cancellation goes to the server only for a request that may have left', () => {
  const { transport, correlator, plan } = bare();
  const cancelled = () => transport.sent.filter(({ method }) => method === 'notifications/cancelled').length;
  for (const isUnsent of [true, false]) {
    void correlator.ask(plan(), () => Buffer.from('{}'));
    const id = transport.sent.at(-1)?.id as number;
    if (isUnsent) transport.unsent.add(id);
    const pending = correlator.at(id);
    assert.ok(pending);
    correlator.cancel(pending, 'a test');
    assert.equal(cancelled(), isUnsent ? 0 : 1);
    assert.equal(transport.aborted.at(-1), id);
  }
  correlator.failAll(() => new Refusal('client-gone'));
});

test('a late, a doubled and a foreign answer find nobody and are counted', async () => {
  const { transport, correlator, plan, runtime } = bare();
  const first = correlator.ask(plan(), () => Buffer.from('{}'));
  const firstId = transport.sent.at(-1)?.id;
  transport.reply(firstId, { n: 1 });
  transport.reply(firstId, { n: 2 });
  const second = correlator.ask(plan(), () => Buffer.from('{}'));
  const secondId = transport.sent.at(-1)?.id;
  assert.notEqual(firstId, secondId);
  transport.reply(firstId, { n: 3 });
  transport.say({ id: `x${secondId}`, result: { n: 4 } });
  transport.say({ id: 987_654_321, result: {} });
  transport.say({ id: 1.5, result: {} });
  transport.reply(secondId, { n: 5 });
  const answers = await Promise.all([first, second]);
  assert.deepEqual(
    answers.map((answer) => (isRefusal(answer) ? answer.code : answer.json.toString())),
    ['{"n":1}', '{"n":5}'],
  );
  assert.equal(correlator.unmatched, 5);
  assert.equal(correlator.inFlight, 0);
  assert.equal(runtime.waits.size, 0);
});

// case: SV18
test('finds the request of an answer and of progress whose id is a string', async () => {
  const { transport, correlator, plan } = bare();
  const asked = correlator.ask(plan(), () => Buffer.from('{}'));
  const id = String(transport.sent.at(-1)?.id);
  transport.say({ method: 'notifications/progress', params: { progressToken: id, progress: 1 } });
  transport.say({ id, result: { n: 1 } });
  const answer = await asked;
  assert.equal(isRefusal(answer) ? answer.code : answer.json.toString(), '{"n":1}');
  assert.equal(correlator.unmatched, 0);
});

// case: SV26
test('an error without an id is the answer to the only request, unless it may be about a notification', async () => {
  const { transport, correlator, plan } = bare();
  const told = (asked: ReturnType<Correlator['ask']>) =>
    Promise.resolve(asked).then((one) => (isRefusal(one) ? one.code : one.json.toString()));
  const ask = () => told(correlator.ask(plan(), () => Buffer.from('{}')));
  const nameless = () => transport.say({ id: null, error: { code: 7, message: 'x is required' } });
  const alone = ask();
  nameless();
  assert.equal(await alone, '{"code":7,"message":"x is required"}');
  const both = [ask(), ask()];
  const [first, second] = transport.sent.slice(-2).map(({ id }) => id);
  nameless();
  transport.reply(first, { n: 1 });
  transport.reply(second, { n: 2 });
  assert.deepEqual(await Promise.all(both), ['{"n":1}', '{"n":2}']);
  correlator.notify('notifications/initialized', undefined);
  const list = ask();
  nameless();
  transport.reply(transport.sent.at(-1)?.id, { n: 3 });
  assert.equal(await list, '{"n":3}', 'the server refused the notification');
  const later = ask();
  nameless();
  assert.equal(await later, '{"code":7,"message":"x is required"}');
});

// case: SV26, SV43
test('an answer without an id ends the request that is left when all others are answered', async () => {
  const { transport, correlator, replies, plan, advance } = bare();
  const ask = () =>
    Promise.resolve(correlator.ask(plan(60_000), () => Buffer.from('{}'))).then((one) =>
      isRefusal(one) ? one.code : one.json.toString(),
    );
  const broken = new HubError('upstream-invalid', { message: 'no JSON', detail: { server: 's' } });
  for (const [say, expected] of [
    [() => transport.say({ id: null, error: { code: 7, message: 'no' } }), '{"code":7,"message":"no"}'],
    [() => transport.say({ id: null, error: { code: 7, message: 'x'.repeat(70_000) } }), 'upstream-invalid'],
    [() => replies.unreadable(broken), 'upstream-invalid'],
  ] as const) {
    const [call, list] = [ask(), ask()];
    const [, second] = transport.sent.slice(-2).map(({ id }) => id);
    say();
    transport.reply(second, { tools: [] });
    assert.equal(await list, '{"tools":[]}');
    assert.equal(correlator.inFlight, 1);
    advance(1100);
    assert.equal(correlator.inFlight, 0);
    assert.equal(await call, expected);
  }
});

// case: SV26
test('an error without an id ends a call after 30 s when a caller, a cancel or a notification may be its cause', async () => {
  for (const cause of ['quoted', 'cancelled', 'notified'] as const) {
    const { transport, correlator, plan, advance } = bare();
    const told = (asked: ReturnType<Correlator['ask']>) =>
      Promise.resolve(asked).then((one) => (isRefusal(one) ? one.code : one.json.toString()));
    const ask = () => told(correlator.ask(plan(100_000), () => Buffer.from('{}')));
    const before = ask();
    transport.reply(transport.sent.at(-1)?.id, {});
    await before;
    if (cause === 'quoted') Object.defineProperty(transport, 'mayQuoteUnowned', { value: true });
    else if (cause === 'notified') correlator.notify('notifications/roots/list_changed', undefined);
    else {
      const options = plan();
      void correlator.ask(options, () => Buffer.from('{}'));
      options.budget.deadline.end('cancelled');
    }
    const [waiting, reporting, answered] = [ask(), ask(), ask()];
    const [, second, third] = transport.sent.slice(-3).map(({ id }) => id);
    for (let nth = 0; nth < 3; nth += 1) transport.say({ id: null, error: { code: 7, message: 'text of another' } });
    transport.say({ method: 'notifications/progress', params: { progressToken: second, progress: 1 } });
    advance(29_000);
    transport.reply(third, { n: 3 });
    assert.equal(await answered, '{"n":3}', cause);
    assert.equal(correlator.inFlight, 2);
    advance(1500);
    assert.equal(await waiting, 'upstream-invalid', cause);
    assert.equal(correlator.inFlight, 1);
    transport.reply(second, { n: 2 });
    assert.equal(await reporting, '{"n":2}', cause);
  }
});

test('a message that may contain an answer of a caller is noticed in every spelling', () => {
  const may = (text: string) => {
    const quoted = new QuotedReplies();
    quoted.sent(Buffer.from(text));
    return [quoted.may, quoted.mayUnowned];
  };
  const call = (params: string) => may(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
  for (const fine of [
    '{"name":"error_text","arguments":{"text":"an error, \\"error_text\\", a result"}}',
    '{"name":"x","arguments":{"text":"é ☃"}}',
  ])
    assert.deepEqual(call(fine), [false, false], fine);
  for (const own of ['"id":1,"result":{}', '"id":"a","error":{"code":1}'])
    assert.deepEqual(may(`{"jsonrpc":"2.0",${own}}`), [false, false], own);
  assert.deepEqual(may('{"jsonrpc":"2.0","id":1,"result":{"result":{}}}'), [false, true]);
  assert.deepEqual(call('{"name":"x","arguments":{"id":null,"error":{}}}'), [false, true]);
  // What a server prints of these ends a request, or has to be noticed.
  for (const line of [
    '{"id":null,"error":{"code":1}}',
    '{"error"\n :{}} x',
    "{'result':1} x",
    '{"result":1} x',
    '{"result":1,',
    '{"jsonrpc":"2.0","result":{"x":',
  ]) {
    assert.equal(call(JSON.stringify({ text: line }))[1], true, line);
    assert.equal(call(JSON.stringify({ text: JSON.stringify({ line }) }))[1], true, line);
    const escaped = [...line].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    for (const spelled of ['"', ':', 'e', 'r', ' ']) {
      const text = [...line].map((unit, at) => (unit === spelled || unit === '\n' ? escaped[at] : unit)).join('');
      const isWhole = !text.includes('"') && !text.includes("'");
      if (isWhole || spelled === 'e' || spelled === 'r')
        assert.equal(call(`{"text":"${text.replaceAll('"', '\\"')}"}`)[1], true, text);
    }
  }
});

test('ends a call at once when its answer cannot be understood', async () => {
  const { transport, correlator, plan, runtime, facts } = bare();
  const odd: readonly ((id: number | undefined) => object)[] = [
    (id) => ({ id, result: 5 }),
    (id) => ({ id, result: [1] }),
    (id) => ({ id, result: '' }),
  ];
  for (const answer of odd) {
    const asked = correlator.ask(plan(), () => Buffer.from('{}'));
    transport.say(answer(transport.sent.at(-1)?.id));
    const ended = await asked;
    assert.equal(isRefusal(ended) ? ended.code : 'answered', 'upstream-invalid');
  }
  assert.equal(correlator.inFlight, 0);
  assert.equal(runtime.waits.size, 0);
  const reported = facts.filter((fact) => fact.type === 'messages-invalid');
  assert.deepEqual(
    reported.map(({ repaired, refused }) => ({ repaired, refused })),
    [{ repaired: 0, refused: 1 }],
    'the first at once, the others later',
  );
});

test('passes on an error without an integer code or a message with both, and reports it', async () => {
  const { transport, correlator, plan, facts } = bare();
  for (const error of ['no', { code: 1.5, message: 'm' }, { code: 1 }]) {
    const asked = correlator.ask(plan(), () => Buffer.from('{}'));
    transport.say({ id: transport.sent.at(-1)?.id, error });
    const ended = await asked;
    assert.ok(!isRefusal(ended) && ended.kind === 'error');
    const { code, message } = JSON.parse(ended.json.toString('utf8')) as { code: unknown; message: unknown };
    assert.ok(Number.isInteger(code) && typeof message === 'string');
  }
  const reported = facts.filter((fact) => fact.type === 'messages-invalid');
  assert.deepEqual(
    reported.map(({ repaired, refused }) => ({ repaired, refused })),
    [{ repaired: 1, refused: 0 }],
  );
});

test('passes on so many notifications a second and says once how many it dropped', async () => {
  const { transport, correlator, plan, advance, facts } = bare();
  let told = 0;
  const notify = () => {
    told += 1;
  };
  const back = { ...SILENT_BACK_CHANNEL, progressToken: '"t"', notify };
  const asked = correlator.ask({ ...plan(60_000), back }, () => Buffer.from('{}'));
  const progressToken = transport.sent.at(-1)?.id;
  const flood = (count: number) => {
    for (let at = 0; at < count; at += 1)
      transport.say({ method: 'notifications/progress', params: { progressToken, progress: at } });
  };
  flood(5000);
  const perCall = 16;
  assert.equal(told, 1000 + perCall);
  advance(1000);
  flood(5000);
  assert.equal(told, 1500 + perCall);
  advance(10_000);
  flood(1001);
  const dropped = facts.flatMap((fact) => (fact.type === 'notifications-dropped' ? [fact.count] : []));
  assert.deepEqual(dropped, [1, 3999 - perCall + 4500 + 1]);
  transport.reply(progressToken, { n: 1 });
  assert.ok(!isRefusal(await asked), 'the call goes on as if nothing had been');
});

test('passes on the progress of many short calls, however many there are in a second', async () => {
  const { transport, correlator, plan } = bare();
  let told = 0;
  const notify = () => {
    told += 1;
  };
  const back = { ...SILENT_BACK_CHANNEL, progressToken: '"t"', notify };
  for (let call = 0; call < 2000; call += 1) {
    const asked = correlator.ask({ ...plan(60_000), back }, () => Buffer.from('{}'));
    const progressToken = transport.sent.at(-1)?.id;
    for (let progress = 1; progress <= 3; progress += 1)
      transport.say({ method: 'notifications/progress', params: { progressToken, progress } });
    transport.reply(progressToken, {});
    await asked;
  }
  assert.equal(told, 6000);
});

// finding: SR-A10
test('drops a notification that is too large, and progress whose token stands there twice', async () => {
  const { transport, correlator, plan } = bare();
  const told: string[] = [];
  const notify = (_method: string, params: Buffer) => told.push(params.toString());
  const asked = correlator.ask(
    { ...plan(60_000), back: { ...SILENT_BACK_CHANNEL, progressToken: '"t"', notify } },
    () => Buffer.from('{}'),
  );
  const token = transport.sent.at(-1)?.id;
  for (const params of [
    `{"progressToken":${token},"progress":1,"message":"${'x'.repeat(600_000)}"}`,
    `{"progressToken":${token},"progress":2,"progressToken":"of another call"}`,
    `{"progressToken":${token},"progress":3}`,
  ])
    transport.say(`{"jsonrpc":"2.0","method":"notifications/progress","params":${params}}`);
  assert.deepEqual(told, ['{"progressToken":"t","progress":3}']);
  transport.reply(token, {});
  await asked;
});

test('an answer keeps every byte, and a server’s own error is an answer', async () => {
  const { transport, correlator, plan } = bare();
  const result = correlator.ask(plan(), () => Buffer.from('{}'));
  const id = transport.sent.at(-1)?.id;
  transport.say(`{"jsonrpc":"2.0","result":{"big":12345678901234567890 , "b":"\\u00e4"},"id":${id}}`);
  const answer = await result;
  assert.ok(!isRefusal(answer));
  assert.equal(answer.json.toString(), '{"big":12345678901234567890 , "b":"\\u00e4"}');
  const failing = correlator.ask(plan(), () => Buffer.from('{}'));
  transport.say({ id: transport.sent.at(-1)?.id, error: { code: -32602, message: 'no such tool' } });
  const error = await failing;
  assert.ok(!isRefusal(error) && error.kind === 'error' && error.json.toString().includes('-32602'));
});

test('a call whose deadline has ended already is not sent', () => {
  const { transport, correlator, plan, runtime } = bare();
  const ended = plan();
  ended.budget.deadline.end('client-gone');
  const outcome = correlator.ask(ended, () => Buffer.from('{}'));
  assert.ok(isRefusal(outcome as never));
  assert.equal(transport.sent.length, 0);
  assert.equal(correlator.inFlight, 0);
  assert.equal(runtime.waits.size, 0);
});

test('a transport that refuses, and params that cannot be made, leave nothing behind', async () => {
  const { transport, correlator, plan, runtime, facts } = bare();
  transport.refuse = new Refusal('upstream-stuck');
  const stuck = await correlator.ask(plan(), () => Buffer.from('{}'));
  assert.ok(isRefusal(stuck) && stuck.code === 'upstream-stuck');
  transport.refuse = undefined;
  const broken = await correlator.ask(plan(), () => {
    throw new TypeError('a defect');
  });
  assert.ok(isRefusal(broken) && broken.code === 'internal');
  assert.equal(facts.filter((fact) => fact.type === 'task-faulted').length, 1);
  assert.equal(correlator.inFlight, 0);
  assert.equal(runtime.waits.size, 0);
});

test('ping is answered, every other question is declined, and a flood of them is dropped', () => {
  const { transport, correlator } = bare();
  transport.say({ id: 'p-1', method: 'ping' });
  assert.equal(transport.sent.at(-1)?.text, '{"jsonrpc":"2.0","id":"p-1","result":{}}');
  transport.say({ id: 7, method: 'sampling/createMessage', params: {} });
  assert.match(transport.sent.at(-1)?.text ?? '', /^\{"jsonrpc":"2.0","id":7,"error":\{"code":-32601/);
  for (let i = 0; i < 1000; i += 1) transport.say({ id: i, method: 'ping' });
  assert.ok(transport.sent.length <= 50, `${transport.sent.length} answers`);
  assert.ok(correlator.unmatched >= 950);
});

test('progress reaches its own call with the client’s token as it was, and nobody when it is late', async () => {
  const rig = await FleetRig.ready();
  const texty = rig.call({ progressToken: '"tok\\u00e9n 1"' });
  const textyId = rig.life.last('tools/call').id as number;
  const number = rig.call({ progressToken: '1' });
  const numberId = rig.life.last('tools/call').id as number;
  const silent = rig.call();
  const silentId = rig.life.last('tools/call').id as number;
  rig.life.say(
    `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1.50, "progressToken":${textyId}}}`,
  );
  rig.life.say({ method: 'notifications/progress', params: { progressToken: numberId, progress: 2 } });
  rig.life.say({ method: 'notifications/progress', params: { progressToken: silentId, progress: 3 } });
  rig.life.say({ method: 'notifications/progress', params: { progressToken: 12, progress: 4 } });
  rig.life.say({ method: 'notifications/progress' });
  assert.deepEqual(texty.progress, ['{"progress":1.50, "progressToken":"tok\\u00e9n 1"}']);
  assert.deepEqual(number.progress, ['{"progressToken":1,"progress":2}']);
  assert.deepEqual(silent.progress, []);
  for (const id of [textyId, numberId, silentId]) rig.life.reply(id, {});
  rig.life.say({ method: 'notifications/progress', params: { progressToken: textyId, progress: 9 } });
  await settle();
  assert.equal(texty.progress.length, 1);
  assert.equal(textOf(texty), '{}');
  await rig.close();
});

test('whatever order answers, silence, cancels and a lost connection come in, each call settles once and its place is free', async () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom('ask', 'answer', 'again', 'late', 'cancel', 'time', 'fail'), fc.nat(20)),
    { maxLength: 60 },
  );
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const { transport, correlator, plan, runtime, advance } = bare();
      const asked: { id: number; settled: number; plan: RequestOptions }[] = [];
      for (const [what, pick] of history) {
        const one = asked[pick % Math.max(asked.length, 1)];
        if (what === 'ask') {
          const own = plan(50 + pick * 10);
          const outcome = correlator.ask(own, () => Buffer.from('{}'));
          const entry = { id: transport.sent.at(-1)?.id as number, settled: 0, plan: own };
          asked.push(entry);
          void Promise.resolve(outcome).then(() => {
            entry.settled += 1;
          });
        } else if (what === 'time') advance(pick * 5);
        else if (!one) continue;
        else if (what === 'answer' || what === 'late') transport.reply(one.id, {});
        else if (what === 'cancel') one.plan.budget.deadline.end('client-gone');
        else if (what === 'again') {
          const pending = correlator.at(one.id);
          if (pending) correlator.again(pending);
        } else correlator.failAll(() => new Refusal('upstream-gone'));
      }
      // Cancels had 5 s to be written.
      advance(6000);
      await settle(1);
      assert.ok(asked.every((entry) => entry.settled === 1));
      assert.equal(correlator.inFlight, 0);
      assert.equal(runtime.waits.size, 0);
      assert.equal(runtime.wheel.size, 0);
    }),
    { numRuns: 100 },
  );
});

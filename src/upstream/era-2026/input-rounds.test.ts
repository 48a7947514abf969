/** Requests of a stateless server go to the user, and the answers into the next request; everything is limited. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { InputRounds } from './input-rounds.ts';
import { type SentRequest, SentRequests } from './sent-requests.ts';

function firstRequest(): SentRequest {
  return {
    method: 'tools/call',
    params: Buffer.from('{"name":"a"}'),
    deadline: frozenRuntime().runtime.deadline(1000),
  };
}

function asking(inputRequests: object, requestState?: string): Buffer {
  return Buffer.from(JSON.stringify({ resultType: 'input_required', inputRequests, requestState }));
}

const ROOTS = { method: 'roots/list' };

test('all questions of a round are answered before the call goes on, with the keys and the state of the server', () => {
  const [rounds, first] = [new InputRounds(), firstRequest()];
  const visit = { method: 'elicitation/create', params: { mode: 'url', url: 'https://a.b', message: 'm' } };
  const questions = rounds.begin(7, first, asking({ where: ROOTS, who: visit }, 's"1'));
  assert.ok(Array.isArray(questions));
  const [where, who] = questions;
  assert.deepEqual([where?.method, where?.params.toString()], ['roots/list', '{}']);
  // The 2025 era needs an id for a URL request.
  assert.match(who?.params.toString() ?? '', /"elicitationId":"mcphub-\d+"/);
  assert.deepEqual(
    [where, who].map((question) => rounds.keyOf(question?.idRaw ?? '')),
    ['where', 'who'],
  );
  assert.equal(rounds.keyOf('"stranger"'), undefined);
  assert.equal(rounds.answered('"stranger"', '{}', ''), undefined);
  assert.deepEqual(rounds.answered(where?.idRaw ?? '', '{"roots":[]}', ''), { kind: 'wait' });
  assert.equal(rounds.answered(where?.idRaw ?? '', '{"roots":[]}', ''), undefined, 'each once');
  const step = rounds.answered(who?.idRaw ?? '', '{"action":"accept"}', '');
  assert.ok(step?.kind === 'again' && step.id === 7 && step.first === first);
  assert.deepEqual(JSON.parse(`{${step.members}}`), {
    inputResponses: { where: { roots: [] }, who: { action: 'accept' } },
    requestState: 's"1',
  });
});

test('a question that cannot be asked ends the call; one that is called off is forgotten', () => {
  const rounds = new InputRounds();
  const ask = (id: number) =>
    (rounds.begin(id, firstRequest(), asking({ a: ROOTS })) as readonly { idRaw: string }[])[0]?.idRaw ?? '';
  const refused = rounds.answered(ask(1), undefined, '{"code":-32601}');
  assert.ok(refused?.kind === 'refused' && refused.why.includes('-32601'));
  const idRaw = ask(2);
  rounds.forget(2);
  assert.equal(rounds.answered(idRaw, '{}', ''), undefined);
  assert.equal(rounds.first(2), undefined);
});

test('a server that asks nothing and only wants to be asked again gets its state back', () => {
  const [rounds, first] = [new InputRounds(), firstRequest()];
  assert.deepEqual(rounds.begin(7, first, asking({}, 'later')), []);
  assert.deepEqual(rounds.again(7), { kind: 'again', id: 7, first, members: '"requestState":"later"' });
  assert.equal(rounds.again(8), undefined);
});

test('rounds, questions and bytes have an end', () => {
  const rounds = new InputRounds();
  const first = firstRequest();
  for (let round = 0; round < 8; round += 1) assert.ok(Array.isArray(rounds.begin(1, first, asking({ a: ROOTS }))));
  assert.equal(rounds.begin(1, first, asking({ a: ROOTS })), 'it asks too often');
  assert.equal(rounds.first(1), undefined);
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`k${at}`, ROOTS]));
  assert.equal(typeof rounds.begin(2, first, asking(many)), 'string');
  assert.equal(typeof rounds.begin(3, first, asking({})), 'string');
  assert.equal(typeof rounds.begin(4, first, asking({ a: { ...ROOTS, x: 'y'.repeat(1_100_000) } })), 'string');
});

test('each round travels under a number of its own, and only the newest is waited for', () => {
  let last = 5;
  const nextId = () => {
    last += 1;
    return last;
  };
  const [sent, request] = [new SentRequests(nextId), firstRequest()];
  const id = 5;
  assert.equal(sent.add(id, request), id);
  assert.equal(sent.answered(id), request);
  assert.equal(sent.answered(id), undefined, 'once');
  const second = sent.add(id, request);
  assert.notEqual(second, id);
  assert.deepEqual([sent.idOf(second), sent.wireOf(id)], [id, second]);
  assert.equal(sent.answered(id), undefined, 'the first round is over');
  let wire = second;
  for (let round = 3; round <= 16; round += 1) wire = sent.add(id, request);
  assert.ok(wire === id + 15 && sent.idOf(wire) === id, 'all rounds are small numbers');
  assert.equal(sent.answered(wire), request);
  sent.forget(id);
  assert.equal(sent.answered(wire), undefined);
  assert.equal(sent.wireOf(id), id);
});

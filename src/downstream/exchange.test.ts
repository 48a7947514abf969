import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeResponse, fakeRequest } from '../../test/support/fake-response.ts';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { accessOf } from '../../test/support/small-worlds.ts';
import type { Reply } from '../call/call.ts';
import { createQuestions } from '../call/questions.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { LOCAL_PRINCIPAL } from '../model/principal.ts';
import type { Envelope } from '../protocol/message.ts';
import { scanEnvelope } from '../protocol/scan.ts';
import { createKeyRing } from '../seal/key-ring.ts';
import { ResumableStreams } from '../session/resumable-streams.ts';
import { type Session, Sessions } from '../session/sessions.ts';
import { Exchange } from './exchange.ts';
import { batchPiece } from './reply-frame.ts';
import { Streams } from './streams.ts';

const BOTH = 'application/json, text/event-stream';

function envelopeOf(text: string): Envelope {
  const envelope = scanEnvelope(Buffer.from(text), { maxDepth: 64, maxIdBytes: 256, strict: true });
  assert.ok(!isRefusal(envelope), text);
  return envelope;
}

function exchangeWith(accept: string | undefined, id = '"k 1"') {
  const response = new FakeResponse();
  const envelope = envelopeOf(`{"jsonrpc":"2.0","id":${id},"method":"tools/call"}`);
  const { runtime } = frozenRuntime();
  const limits = limitsFrom({});
  const sessions = new Sessions({ runtime, limits, keyRing: createKeyRing([Buffer.alloc(32, 7)]) });
  const parts = {
    runtime,
    limits,
    sessions,
    streams: new Streams({ runtime, limits }),
    resumableStreams: new ResumableStreams({ runtime, limits, slot: 1 }),
    questions: createQuestions({ runtime, limits, slot: 1 }),
  };
  const request = fakeRequest(accept === undefined ? {} : { accept });
  const exchange = new Exchange({ request, response: response.asResponse(), owner: 'k' }, envelope, parts);
  exchange.forCaller(accessOf('alice'));
  return { exchange, response, ...parts };
}

function sessionOf(sessions: Sessions, version = '2025-11-25'): Session {
  const wish = { path: 'all', version, clientName: 'c', clientVersion: '1', capabilityBits: 4 };
  return sessions.create({ ...wish, principal: LOCAL_PRINCIPAL });
}

const result = (json: string): Reply => ({ kind: 'result', json: Buffer.from(json) });
const eventsOf = (response: FakeResponse): string[] => response.writes.filter((text) => text.startsWith('event:'));

test('an answer without anything before it is plain JSON, also for a client that accepts a stream', () => {
  for (const accept of [undefined, '*/*', BOTH]) {
    const { exchange, response } = exchangeWith(accept);
    exchange.answer(result('{"a":1}'));
    assert.equal(response.headers['content-type'], 'application/json');
    assert.equal(response.text, '{"jsonrpc":"2.0","id":"k 1","result":{"a":1}}');
    assert.equal(response.headers['content-length'], Buffer.byteLength(response.text));
  }
});

test('the id comes back byte for byte', () => {
  for (const id of ['0', '-1', '1.50', '"1"', '"\\u00e9"', '9007199254740993']) {
    const { exchange, response } = exchangeWith(undefined, id);
    exchange.answer(result('{}'));
    assert.equal(response.text, `{"jsonrpc":"2.0","id":${id},"result":{}}`);
  }
});

test('a notification makes it a stream that ends with the result', () => {
  const { exchange, response } = exchangeWith(BOTH);
  exchange.notify('notifications/progress', Buffer.from('{"progress":1}'));
  exchange.notify('notifications/progress', Buffer.from('{"progress":2}'));
  exchange.answer(result('{"a":1}'));
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const events = eventsOf(response);
  assert.equal(events.length, 3);
  assert.match(events[0] ?? '', /"progress":1/);
  assert.match(events[2] ?? '', /"id":"k 1","result":\{"a":1\}/);
  assert.equal(response.ended, true);
});

test('a client that does not accept a stream gets JSON, and its notifications are dropped', () => {
  const { exchange, response } = exchangeWith('application/json');
  exchange.notify('notifications/progress', Buffer.from('{}'));
  exchange.becomeStream();
  exchange.answer(result('{}'));
  assert.equal(response.text, '{"jsonrpc":"2.0","id":"k 1","result":{}}');
});

// row C13 · guards src/downstream/exchange.ts
test('nothing follows the answer, and a second answer is none', () => {
  for (const isStream of [false, true]) {
    const { exchange, response } = exchangeWith(BOTH);
    if (isStream) exchange.becomeStream();
    exchange.answer(result('{}'));
    const before = response.writes.length;
    exchange.notify('notifications/progress', Buffer.from('{}'));
    exchange.becomeStream();
    exchange.answer(result('{"again":1}'));
    assert.equal(response.writes.length, before);
  }
});

test('a long silence becomes a stream; a refusal then is an error event, since the head is out', () => {
  const { exchange, response } = exchangeWith(BOTH);
  exchange.becomeStream();
  assert.equal(response.headers['content-type'], 'text/event-stream');
  exchange.answer(new Refusal('upstream-silent', undefined, { server: 'x' }));
  assert.match(eventsOf(response)[0] ?? '', /"id":"k 1","error":\{"code":-32012/);
  assert.equal(response.status, 200);
});

test('a stream of a session carries ids, primes clients of 2025-11-25, and goes on without its client', () => {
  const { exchange, response, sessions, resumableStreams } = exchangeWith(BOTH);
  const session = sessionOf(sessions);
  exchange.inSession(session);
  exchange.notify('notifications/progress', Buffer.from('{"progress":1}'));
  const firstId = /^id: (\S+)\ndata: \n\n$/.exec(response.writes[0] ?? '')?.[1] ?? '';
  const secondId = /\nid: (\S+)\n/.exec(response.writes[1] ?? '')?.[1] ?? '';
  assert.match(firstId, /^1\./);
  assert.match(secondId, /^1\./);
  response.emit('close');
  exchange.notify('notifications/progress', Buffer.from('{"progress":2}'));
  exchange.answer(result('{"a":1}'));
  const resumed = resumableStreams.resume(session.random, secondId);
  assert.ok(resumed.kind === 'stream');
  const got: string[] = [];
  resumed.stream.attach(
    { send: (message) => got.push(String(message)) > 0, close: (why) => got.push(why) },
    resumed.after,
  );
  assert.match(got[0] ?? '', /"progress":2/);
  assert.match(got[1] ?? '', /"id":"k 1","result":\{"a":1\}/);
  assert.deepEqual(got.slice(2), ['answered']);
});

test('clients of earlier dates are not primed: they take an empty event for broken JSON', () => {
  const { exchange, response, sessions } = exchangeWith(BOTH);
  exchange.inSession(sessionOf(sessions, '2025-06-18'));
  exchange.becomeStream();
  assert.deepEqual(response.writes, []);
});

test('a question goes out on the call’s stream, and only its own session answers it', async () => {
  const { exchange, response, sessions, questions, runtime } = exchangeWith(BOTH);
  const [alice, bob] = [sessionOf(sessions), sessionOf(sessions)];
  exchange.inSession(alice);
  const params = Buffer.from('{"message":"sure?"}');
  const deadline = runtime.deadline(1000);
  const answer = exchange.ask({ method: 'elicitation/create', params, deadline, owner: 'r1' });
  const asked = JSON.parse(/data: (.*)\n/.exec(response.writes.at(-1) ?? '')?.[1] ?? '{}');
  assert.deepEqual([asked.method, asked.params], ['elicitation/create', { message: 'sure?' }]);
  const reply = envelopeOf(`{"jsonrpc":"2.0","id":${JSON.stringify(asked.id)},"result":{"action":"accept"}}`);
  assert.equal(questions.ownerOf(reply), 1);
  questions.answered(bob, reply);
  questions.answered(alice, reply);
  questions.answered(alice, reply);
  assert.deepEqual(await answer, { kind: 'result', json: Buffer.from('{"action":"accept"}') });
});

test('a question ends with its deadline, and the client hears that nobody waits', async () => {
  const { exchange, response, sessions, runtime } = exchangeWith(BOTH);
  exchange.inSession(sessionOf(sessions));
  const deadline = runtime.deadline(1000);
  const answer = exchange.ask({ method: 'roots/list', params: undefined, deadline, owner: 'r1' });
  deadline.end('client-gone');
  const outcome = await answer;
  assert.ok(isRefusal(outcome) && outcome.code === 'client-silent');
  assert.match(response.writes.at(-1) ?? '', /notifications\/cancelled.*"requestId":"mcphub-1-/);
  const nobody = await exchangeWith(BOTH).exchange.ask({
    method: 'roots/list',
    params: undefined,
    deadline,
    owner: 'r2',
  });
  assert.ok(isRefusal(nobody) && nobody.code === 'client-cannot-be-asked');
});

test('a refusal is an error with its status, its headers and the id', () => {
  const cases: [Refusal, number, string, string | undefined][] = [
    [new Refusal('unauthorized'), 401, 'www-authenticate', 'Bearer'],
    [new Refusal('rate-limited', undefined, { retryAfterMs: 1200 }), 429, 'retry-after', '2'],
    [new Refusal('draining'), 503, 'retry-after', '1'],
    [new Refusal('method-not-allowed'), 405, 'allow', 'POST'],
    [new Refusal('body-too-large'), 413, 'connection', 'close'],
    [new Refusal('unknown-tool'), 200, 'retry-after', undefined],
  ];
  for (const [refusal, status, header, value] of cases) {
    const { exchange, response } = exchangeWith(undefined);
    exchange.answer(refusal);
    assert.equal(response.status, status);
    assert.equal(response.headers[header], value);
    const body = JSON.parse(response.text);
    assert.equal(body.id, 'k 1');
    assert.equal(body.error.data.code, refusal.code);
  }
});

test('a server’s own error is passed on untouched, a notification gets 202 and no body, a new session its header', () => {
  const wrong = exchangeWith(undefined);
  wrong.exchange.answer({ kind: 'error', json: Buffer.from('{"code":7,"message":"own"}') });
  assert.equal(wrong.response.text, '{"jsonrpc":"2.0","id":"k 1","error":{"code":7,"message":"own"}}');
  const accepted = exchangeWith(undefined);
  accepted.exchange.answer({ kind: 'accepted' });
  assert.deepEqual([accepted.response.status, accepted.response.text], [202, '']);
  const opened = exchangeWith(undefined);
  opened.exchange.answer({ kind: 'result', json: Buffer.from('{}'), session: { id: 'sealed' } as Session });
  assert.equal(opened.response.headers['mcp-session-id'], 'sealed');
});

// row F11 · guards src/downstream/exchange.ts
test('a large result is written in pieces whose sum is the length that was promised', () => {
  const { exchange, response } = exchangeWith(undefined);
  exchange.answer(result(`"${'é'.repeat(40_000)}"`));
  assert.equal(response.headers['content-length'], Buffer.byteLength(response.text));
  assert.equal(response.writes.length, 3);
});

test('an answer to a connection that is gone is dropped silently', () => {
  const { exchange, response } = exchangeWith(undefined);
  response.destroyed = true;
  exchange.answer(result('{}'));
  assert.equal(response.headersSent, false);
});

test('in a batch only requests have a piece', () => {
  const request = envelopeOf('{"jsonrpc":"2.0","id":5,"method":"ping"}');
  assert.equal(batchPiece(request, result('{}'))?.toString(), '{"jsonrpc":"2.0","id":5,"result":{}}');
  assert.match(batchPiece(request, new Refusal('unknown-tool'))?.toString() ?? '', /^\{"jsonrpc":"2.0","id":5,"error"/);
  const notice = envelopeOf('{"jsonrpc":"2.0","method":"notifications/initialized"}');
  assert.equal(batchPiece(notice, new Refusal('unauthorized')), undefined);
});

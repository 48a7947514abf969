import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../../../config/limits.ts';
import type { EgressPool, EgressRequest, ResponseController, ResponseHandler } from '../../../net/egress.ts';
import { QuotedReplies } from '../../connection/quoted-replies.ts';
import { InvalidEvents } from '../http/invalid-events.ts';
import { ServerStream } from './server-stream.ts';

interface Opened {
  readonly atMs: number;
  readonly request: EgressRequest;
  readonly handler: ResponseHandler;
  readonly controller: ResponseController;
}

function rig(random = () => 0) {
  const frozen = frozenRuntime(random);
  const opened: Opened[] = [];
  const messages: string[] = [];
  const unreadable: number[] = [];
  const said: string[] = [];
  let lost = 0;
  const pool: EgressPool = {
    headers: [],
    pathOf: (url) => url.pathname,
    dispatch(request, handler) {
      let aborted = false;
      const controller: ResponseController = {
        get aborted() {
          return aborted;
        },
        paused: false,
        abort(reason) {
          if (aborted) return;
          aborted = true;
          handler.onResponseError(controller, reason);
        },
        pause: () => {},
        resume: () => {},
      };
      opened.push({ atMs: frozen.runtime.clock.nowMs(), request, handler, controller });
      handler.onRequestStart(controller);
      return controller;
    },
    probe: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const stream = new ServerStream({
    runtime: frozen.runtime,
    limits: limitsFrom({}),
    pool,
    path: '/mcp',
    abortReason: new Error('over'),
    headers: (lastEventId) => ['accept', 'text/event-stream', ...(lastEventId ? ['last-event-id', lastEventId] : [])],
    answered: () => {},
    opened: () => {},
    ended: () => {},
    message: (envelope) => messages.push(envelope.method),
    invalid: new InvalidEvents({
      ...{ runtime: frozen.runtime, limits: limitsFrom({}), quoted: new QuotedReplies() },
      unreadable: (id) => unreadable.push(id ?? -1),
      said: (line) => said.push(line),
    }),
    server: 'far',
    sessionLost: () => {
      lost += 1;
    },
  });
  const answer = (status: number, text = '', type = 'text/event-stream'): Opened => {
    const last = opened.at(-1)!;
    last.handler.onResponseStart(last.controller, status, { 'content-type': type });
    if (text !== '' && !last.controller.aborted) last.handler.onResponseData(last.controller, Buffer.from(text));
    return last;
  };
  const end = (last: Opened): void => last.handler.onResponseEnd(last.controller);
  return {
    ...frozen,
    stream,
    opened,
    messages,
    unreadable,
    said,
    answer,
    end,
    lost: () => lost,
  };
}

// row A11 · guards src/upstream/transport/streamable-http/server-stream.ts
test('A11: a stream that ends at once is opened at most ten times in the first minute, then at most once a minute', () => {
  const one = rig();
  one.stream.open();
  const startMs = one.opened[0]!.atMs;
  let answered = 0;
  for (let second = 0; second < 20 * 60; second += 1) {
    if (one.opened.length > answered) {
      answered = one.opened.length;
      one.end(one.answer(200, ': hi\n\n'));
    }
    one.advance(1000);
  }
  const times = one.opened.map((entry) => entry.atMs - startMs);
  const first = times.filter((atMs) => atMs <= 60_000).length;
  assert.equal(first <= 11, true, `${first} in the first minute, the first opening included`);
  for (let minute = 2; minute < 19; minute += 1) {
    const count = times.filter((atMs) => atMs > minute * 60_000 && atMs <= (minute + 1) * 60_000).length;
    assert.equal(count <= 1, true, `${count} in minute ${minute}`);
  }
  assert.equal(times.length > 10, true, 'it never gives up');
});

test('a server without such a stream is asked once', () => {
  for (const [status, type] of [
    [405, 'text/plain'],
    [404, 'text/plain'],
    [400, 'application/json'],
    [200, 'text/html'],
  ] as const) {
    const one = rig();
    one.stream.open();
    one.end(one.answer(status, '', type));
    one.advance(300_000);
    assert.equal(one.opened.length, 1, `${status} ${type}`);
    assert.equal(one.lost(), 0);
  }
});

test('a stream that had been open and now answers 404 has lost its session', () => {
  const one = rig();
  one.stream.open();
  one.end(one.answer(200, ': hi\n\n'));
  one.advance(2000);
  assert.equal(one.opened.length, 2);
  one.end(one.answer(404, '', 'text/plain'));
  assert.equal(one.lost(), 1);
  one.stream.close();
  one.advance(300_000);
  assert.equal(one.opened.length, 2);
});

// case: SV15
test('a stream that had been open is asked for again whatever it answers, and each gap is told of', () => {
  for (const status of [400, 401, 404, 405, 409, 503]) {
    const one = rig();
    one.stream.open();
    one.end(one.answer(200, ': hi\n\n'));
    one.advance(2000);
    one.end(one.answer(status, '', 'text/plain'));
    one.advance(10_000);
    assert.deepEqual([one.opened.length, one.messages], [3, []], `${status}`);
    one.answer(200, ': hi\n\n');
    assert.deepEqual(one.messages, ['notifications/tools/list_changed']);
  }
});

test('messages go on, retry is honoured, and the last event id comes back with the next opening', () => {
  const one = rig();
  one.stream.open();
  const text = 'retry: 30000\nid: 7\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n';
  one.end(one.answer(200, text));
  assert.deepEqual(one.messages, ['notifications/tools/list_changed']);
  one.advance(29_000);
  assert.equal(one.opened.length, 1);
  one.advance(2000);
  assert.equal(one.opened.length, 2);
  assert.deepEqual(one.opened[1]!.request.headers.slice(-2), ['last-event-id', '7']);
});

test('passes over events that are no messages, ends the calls that they answer, and reads on', () => {
  const one = rig();
  one.stream.open();
  const changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';
  const events = ['{"jsonrpc":"2.0","id":7,"result":{"a":NaN}}', 'no JSON', changed];
  one.answer(200, events.map((data) => `data: ${data}\n\n`).join(''));
  assert.deepEqual(one.messages, ['notifications/tools/list_changed']);
  assert.deepEqual(one.unreadable, [7]);
  assert.equal(one.said.length, 1, 'at most once a second');
  assert.match(one.said[0] ?? '', /not valid MCP/);
  assert.equal(one.opened[0]?.controller.aborted, false);
});

test('a stream that lived for a minute is opened again at once, a silent one after a quarter of an hour', () => {
  const one = rig();
  one.stream.open();
  const last = one.answer(200, ': hi\n\n');
  one.advance(61_000);
  one.end(last);
  one.advance(1100);
  assert.equal(one.opened.length, 2);
  one.answer(200, ': hi\n\n');
  one.advance(15 * 60_000 + 2000);
  assert.equal(one.opened[1]!.controller.aborted, true);
  assert.equal(one.opened.length, 3);
});

test('closing aborts the stream and no rest outlives it', () => {
  const one = rig();
  one.stream.open();
  one.answer(200, ': hi\n\n');
  one.stream.close();
  assert.equal(one.opened[0]!.controller.aborted, true);
  one.advance(300_000);
  assert.equal(one.opened.length, 1);
  const two = rig();
  two.stream.open();
  two.end(two.answer(503, '', 'text/plain'));
  two.stream.close();
  two.advance(300_000);
  assert.equal(two.opened.length, 1);
});

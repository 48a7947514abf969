import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { type FrozenRuntime, frozenRuntime } from '../../test/support/frozen-runtime.ts';
import type { Caller, RequestContext } from '../call/call.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { Authorized } from './authorized.ts';
import { Bodies } from './bodies.ts';
import { readBody } from './body.ts';

const LIMITS = { ...limitsFrom({}), bodyBytes: 100, bodyMs: 2000 };

const AUTHORIZED = Authorized.from({ identify: () => ({ owner: 'a' }) as Caller }, {} as RequestContext) as Authorized;

interface Rig {
  readonly frozen: FrozenRuntime;
  readonly request: PassThrough;
  readonly outcomes: Outcome<Buffer>[];
  /** How often `100 Continue` was sent. */
  readonly continues: number;
}

function reading(contentLength?: number, more: Record<string, string> = {}, limits = LIMITS): Rig {
  const frozen = frozenRuntime();
  const request = new PassThrough();
  request.on('error', () => {});
  const headers = { ...(contentLength === undefined ? {} : { 'content-length': String(contentLength) }), ...more };
  let continues = 0;
  const outcomes: Outcome<Buffer>[] = []; // bounded by: one test
  readBody(
    {
      request: Object.assign(request, { headers, httpVersion: '1.1' }) as unknown as IncomingMessage,
      response: Object.assign(new EventEmitter(), {
        writeContinue: () => (continues += 1),
      }) as unknown as ServerResponse,
      authorized: AUTHORIZED,
    },
    { runtime: frozen.runtime, limits, bodies: new Bodies({ runtime: frozen.runtime, limits }) },
    (body) => outcomes.push(body),
  );
  return {
    ...{ frozen, request, outcomes },
    get continues() {
      return continues;
    },
  };
}

function turns(): Promise<void> {
  return new Promise((done) => setImmediate(() => setImmediate(done)));
}

function shown({ outcomes }: Rig): string[] {
  return outcomes.map((outcome) => (isRefusal(outcome) ? outcome.code : outcome.toString()));
}

test('a body in one piece, in many, and an empty one', async () => {
  const one = reading(5);
  one.request.end('hello');
  const many = reading();
  for (const piece of ['a', 'b', 'c']) many.request.write(piece);
  many.request.end();
  const none = reading();
  none.request.end();
  await turns();
  assert.deepEqual([shown(one), shown(many), shown(none)], [['hello'], ['abc'], ['']]);
});

test('a body of exactly the limit is read, one byte more is too large', async () => {
  const fits = reading(100);
  fits.request.end('x'.repeat(100));
  const over = reading(101);
  over.request.end('x'.repeat(101));
  await turns();
  assert.equal(shown(fits)[0]?.length, 100);
  assert.deepEqual(shown(over), ['body-too-large']);
});

test('refuses a body as soon as it is known to be too large, by its length before a byte is read', async () => {
  const rig = reading();
  rig.request.write('x'.repeat(101));
  await turns();
  assert.deepEqual(shown(rig), ['body-too-large']);
  rig.request.end();
  await turns();
  assert.deepEqual(shown(rig), ['body-too-large']);
  const declared = reading(101);
  assert.deepEqual(shown(declared), ['body-too-large']);
  assert.equal(declared.request.listenerCount('data'), 0);
});

test('asks for the body only where the client waits to be asked, and not for one that is too large', async () => {
  const asked = reading(5, { expect: '100-continue' });
  const large = reading(101, { expect: '100-Continue' });
  const plain = reading(5);
  assert.deepEqual([asked.continues, large.continues, plain.continues], [1, 0, 0]);
});

// row C18 · guards src/downstream/body.ts
test('a body that trickles ends at bodyMs and is visible among the waits until then', async () => {
  const rig = reading(50);
  rig.request.write('x');
  await turns();
  assert.deepEqual(
    rig.frozen.runtime.waits.table().map(({ label }) => label),
    ['body'],
  );
  for (let second = 0; second < 1; second += 1) {
    rig.frozen.advance(1000);
    rig.request.write('x');
    await turns();
  }
  assert.deepEqual(shown(rig), []);
  rig.frozen.advance(1100);
  assert.deepEqual(shown(rig), ['body-slow']);
  assert.equal(rig.frozen.runtime.waits.size, 0);
});

test('a body in pieces leaves no wait and no deadline behind', async () => {
  const rig = reading(2);
  rig.request.write('a');
  await turns();
  rig.request.end('b');
  await turns();
  assert.deepEqual(shown(rig), ['ab']);
  assert.equal(rig.frozen.runtime.waits.size, 0);
  assert.equal(rig.frozen.runtime.wheel.size, 0);
});

test('a client that goes away in the middle is told once as gone', async () => {
  const rig = reading(50);
  rig.request.write('x');
  await turns();
  rig.request.destroy(new Error('reset'));
  await turns();
  rig.frozen.advance(5000);
  assert.deepEqual(shown(rig), ['client-gone']);
  assert.equal(rig.frozen.runtime.waits.size, 0);
});

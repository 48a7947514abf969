import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { type FrozenKernel, frozenKernel } from '../../test/support/frozen-kernel.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';
import { readBody } from './body.ts';

const LIMITS = { ...limitsFrom({}), bodyBytes: 100, bodyMs: 2000 };

interface Rig {
  readonly frozen: FrozenKernel;
  readonly request: PassThrough;
  readonly outcomes: Outcome<Buffer>[];
}

function reading(contentLength?: number): Rig {
  const frozen = frozenKernel();
  const request = new PassThrough();
  request.on('error', () => {});
  const headers = contentLength === undefined ? {} : { 'content-length': String(contentLength) };
  const outcomes: Outcome<Buffer>[] = []; // bounded by: one test
  readBody(
    Object.assign(request, { headers }) as unknown as IncomingMessage,
    { kernel: frozen.kernel, limits: LIMITS },
    (body) => outcomes.push(body),
  );
  return { frozen, request, outcomes };
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

test('a body up to four times too large is read off first, so that its sender gets to see the refusal', async () => {
  const rig = reading();
  rig.request.write('x'.repeat(300));
  await turns();
  assert.deepEqual(shown(rig), []);
  rig.request.end('x'.repeat(100));
  await turns();
  assert.deepEqual(shown(rig), ['body-too-large']);
});

test('a body beyond that is refused without its end, or by its length alone', async () => {
  const rig = reading();
  rig.request.write('x'.repeat(401));
  await turns();
  assert.deepEqual(shown(rig), ['body-too-large']);
  rig.request.end();
  await turns();
  assert.deepEqual(shown(rig), ['body-too-large']);
  assert.deepEqual(shown(reading(401)), ['body-too-large']);
});

// row C18 · guards src/downstream/body.ts
test('a body that trickles ends at bodyMs and is visible among the waits until then', async () => {
  const rig = reading(50);
  rig.request.write('x');
  await turns();
  assert.deepEqual(
    rig.frozen.kernel.waits.table().map(({ label }) => label),
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
  assert.equal(rig.frozen.kernel.waits.size, 0);
});

test('a body in pieces leaves no wait and no deadline behind', async () => {
  const rig = reading(2);
  rig.request.write('a');
  await turns();
  rig.request.end('b');
  await turns();
  assert.deepEqual(shown(rig), ['ab']);
  assert.equal(rig.frozen.kernel.waits.size, 0);
  assert.equal(rig.frozen.kernel.wheel.size, 0);
});

test('a client that goes away in the middle is told once as gone', async () => {
  const rig = reading(50);
  rig.request.write('x');
  await turns();
  rig.request.destroy(new Error('reset'));
  await turns();
  rig.frozen.advance(5000);
  assert.deepEqual(shown(rig), ['client-gone']);
  assert.equal(rig.frozen.kernel.waits.size, 0);
});

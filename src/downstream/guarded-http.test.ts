import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { limitsFrom } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { guardCallback, whenSettled } from './guarded-http.ts';
import { Listener } from './listener.ts';
import type { Handler } from './router.ts';
import { SlowReaders } from './slow-reader.ts';

/**
 * Sends bytes to a listener with this handler; returns the response until the connection closed or `enough` matched.
 */
async function exchange(handler: Handler, bytes: string, enough = /$^/): Promise<{ text: string; facts: HubEvent[] }> {
  const runtime = createRuntime();
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));
  const limits = limitsFrom({});
  const slowReaders = new SlowReaders({ runtime, limits });
  const listener = new Listener({
    runtime,
    limits,
    name: 'test',
    handler,
    slowReaders,
    proxies: { has: () => false },
  });
  const port = await listener.listen({ port: 0, host: '127.0.0.1' }, runtime.deadline(5000));
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes);
  let text = '';
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (enough.test(text)) resolve();
    });
    socket.on('close', () => resolve());
  });
  socket.destroy();
  await listener.stop(runtime.deadline(1000));
  return { text, facts };
}

const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';
const faults = (facts: readonly HubEvent[]) => facts.filter(({ type }) => type === 'task-faulted').length;
const broken = (): never => {
  throw new Error('broken');
};

test('answers 500 when a listener of the request fails before the response has begun', async () => {
  const { text, facts } = await exchange(
    (request) => void request.on('end', broken).resume(),
    'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}',
    /internal/,
  );
  assert.match(text, /^HTTP\/1\.1 500 /);
  assert.equal(faults(facts), 1);
});

test('closes the connection when a listener of the response fails after its head is out', async () => {
  const { text, facts } = await exchange((_, response) => {
    response.on('drain', broken);
    response.writeHead(200).write('x'.repeat(4_000_000));
  }, GET);
  assert.match(text, /^HTTP\/1\.1 200 /);
  assert.equal(faults(facts), 1);
});

test('a close listener that fails ends nothing else', async () => {
  const { text, facts } = await exchange(
    (_, response) => {
      response.on('close', broken);
      response.end('done');
    },
    GET + GET,
    /done.*done/s,
  );
  assert.equal(text.match(/200 OK/g)?.length, 2);
  assert.equal(faults(facts), 2);
});

test('a timer or a promise that fails ends its own request', async () => {
  for (const fail of [
    (runtime: ReturnType<typeof createRuntime>, response: ServerResponse) =>
      void runtime.timers.after(1, guardCallback(runtime, response, broken)),
    (runtime: ReturnType<typeof createRuntime>, response: ServerResponse) =>
      whenSettled(runtime, response, Promise.reject(new Error('broken')), () => {}),
    (runtime: ReturnType<typeof createRuntime>, response: ServerResponse) =>
      whenSettled(runtime, response, Promise.resolve(1), broken),
  ]) {
    const runtime = createRuntime();
    const { text } = await exchange((_, response) => fail(runtime, response), GET, /internal/);
    assert.match(text, /^HTTP\/1\.1 500 /);
  }
});

test('no handler runs while a response on its connection is open', async () => {
  let [open, most] = [0, 0];
  const runtime = createRuntime();
  const { text } = await exchange(
    (_, response) => {
      open += 1;
      most = Math.max(most, open);
      response.on('finish', () => {
        open -= 1;
      });
      runtime.timers.after(2, () => response.end('done'));
    },
    GET.repeat(8),
    /(done.*){8}/s,
  );
  assert.equal(text.match(/200 OK/g)?.length, 8);
  assert.equal(most, 1);
});

test('closes a connection on which more requests wait than `pipelined`', async () => {
  let started = 0;
  const { text } = await exchange(
    () => {
      started += 1;
    },
    GET.repeat(limitsFrom({}).pipelined + 2),
  );
  assert.equal(text, '');
  assert.equal(started, 1);
});

test('starts no request behind one whose answer is the last of its connection', async () => {
  let started = 0;
  const { text } = await exchange((_, response) => {
    started += 1;
    response.end('done');
  }, `GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n${GET}`);
  assert.equal(text.match(/200 OK/g)?.length, 1);
  assert.equal(started, 1);
});

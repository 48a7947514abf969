import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import {
  ask,
  type RawOptions,
  type RawRequest,
  type RawServer,
  reply,
  startRawServer,
} from '../../test/support/raw-http.ts';
import { limitsFrom } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import type { HubEvent } from '../model/events.ts';
import { createSystemTimers } from '../runtime/clock.ts';
import { createRuntime, type Runtime, systemRuntimeOptions } from '../runtime/runtime.ts';
import { createEgress, type EgressPool } from './egress.ts';
import { isConnectionLoss } from './errors.ts';

interface Rig {
  readonly runtime: Runtime;
  readonly pool: EgressPool;
  readonly server: RawServer;
  readonly facts: HubEvent[];
  /** Returns the size of a container in the list of containers. */
  size(name: string): number;
  /** Resolves when `test` holds; fails after 8 s. */
  until(test: () => boolean, what: string): Promise<void>;
}

interface RigOptions extends RawOptions {
  readonly connections?: number;
  readonly runtime?: Runtime;
  readonly host?: string;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 8000;
  while (!holds()) {
    assert.equal(performance.now() < endMs, true, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Waits long enough for a connection to become usable again. */
async function turnsOfTheLoop(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function withPool(
  answer: (request: RawRequest) => void,
  run: (rig: Rig) => Promise<void>,
  { connections = 4, runtime = createRuntime(), host = '127.0.0.1', ...raw }: RigOptions = {},
): Promise<void> {
  const server = await startRawServer(answer, raw);
  const facts: HubEvent[] = [];
  runtime.bus.listen((fact) => facts.push(fact));
  const egress = createEgress({ runtime, limits: limitsFrom({ connectMs: 2000 }), env: {} });
  const pool = egress.open(new URL(`http://${host}:${server.port}/`), { owner: 'docs', connections, addresses: 'any' });
  const size = (name: string): number => runtime.ceilings.table().find((row) => row.name === name)?.size ?? -1;
  try {
    await run({ runtime, pool, server, facts, size, until });
  } finally {
    await egress.close(runtime.deadline(1000));
    await server.close();
  }
}

const echo = ({ socket, body }: RawRequest): boolean => socket.write(reply(body));
const silent = (): void => {};

test('requests go out as they should, one after another on one connection', async () => {
  await withPool(echo, async ({ pool, server }) => {
    const headers = ['accept', 'a/b', 'X-One', '1'];
    const body = Buffer.from('{"text":"가나다 é"}');
    assert.equal((await ask(pool, { method: 'POST', path: '/x?y=1', headers, body }).body).toString(), body.toString());
    await ask(pool, { method: 'POST' }).body;
    await ask(pool, { method: 'DELETE' }).body;
    await ask(pool, { headers: ['host', 'other.test'] }).body;
    const own = `host: 127.0.0.1:${server.port}\r\nconnection: keep-alive\r\naccept-encoding: identity\r\n`;
    assert.deepEqual(
      server.requests.map(({ head }) => head),
      [
        `POST /x?y=1 HTTP/1.1\r\n${own}accept: a/b\r\nX-One: 1\r\ncontent-length: ${body.length}\r\n`,
        `POST / HTTP/1.1\r\n${own}content-length: 0\r\n`,
        `DELETE / HTTP/1.1\r\n${own}`,
        `GET / HTTP/1.1\r\n${own.replace(/host: .*\r/, 'host: other.test\r')}`,
      ],
    );
    assert.equal(server.connections, 1);
  });
});

test('bodies of every size arrive as they are, there and back', async () => {
  await withPool(echo, async ({ pool, server }) => {
    for (const bytes of [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 200_000, 5_000_000]) {
      const body = randomBytes(bytes);
      const back = await ask(pool, { method: 'POST', body }).body;
      assert.equal(back.equals(body), true, `${bytes} bytes`);
    }
    assert.equal(server.connections, 1);
  });
});

test('an answer to HEAD has no body, whatever its length says', async () => {
  const answer = ({ socket }: RawRequest): boolean => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n');
  await withPool(answer, async ({ pool, server }) => {
    for (let turn = 0; turn < 2; turn += 1) assert.equal((await ask(pool, { method: 'HEAD' }).body).length, 0);
    assert.equal(server.connections, 1);
  });
});

test('the connection used last is used next; the others are put away at 4 s by one entry of the wheel', async () => {
  const { runtime, advance } = frozenRuntime();
  const held: RawRequest[] = [];
  let holds = true;
  const answer = (request: RawRequest): void => {
    if (holds) held.push(request);
    else echo(request);
  };
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    const asked = [ask(pool), ask(pool), ask(pool)];
    await until(() => held.length === 3, 'three at once');
    holds = false;
    for (const request of held) {
      echo(request);
      await asked[held.indexOf(request)]?.body;
    }
    const entries = runtime.wheel.size;
    advance(3000);
    for (let turn = 0; turn < 5; turn += 1) {
      await turnsOfTheLoop();
      await ask(pool).body;
      assert.equal(server.requests.at(-1)?.connection, held[2]?.connection);
    }
    assert.equal(runtime.wheel.size, entries, 'no timer of its own for each');
    assert.equal(size('net.sockets'), 3);
    advance(1100);
    assert.equal(size('net.sockets'), 1);
    await until(() => server.open.size === 1, 'two closed');
    assert.equal(server.open.has(held[2]?.socket as Socket), true);
    advance(3000);
    assert.equal(size('net.sockets'), 0);
    await ask(pool).body;
    assert.equal(server.connections, 4);
  };
  await withPool(answer, run, { runtime });
});

test('A18: a hint of the server is honoured: two seconds before its end, or not kept at all', async () => {
  const { runtime, advance } = frozenRuntime();
  let hint = 'timeout=3, max=100';
  const answer = ({ socket }: RawRequest): boolean => socket.write(reply('x', `Keep-Alive: ${hint}`));
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    await ask(pool).body;
    advance(900);
    assert.equal(size('net.sockets'), 1);
    advance(200);
    assert.equal(size('net.sockets'), 0);
    hint = 'timeout=2';
    await ask(pool).body;
    await ask(pool).body;
    assert.equal(server.connections, 3);
    hint = 'timeout=600';
    const long = ask(pool);
    await long.body;
    hint = 'timeout=3';
    await Promise.all([ask(pool).body, ask(pool).body]);
    advance(1100);
    assert.equal(size('net.sockets'), 0, 'the sooner one is seen sooner');
    hint = 'timeout=600';
    await ask(pool).body;
    advance(4100);
    assert.equal(size('net.sockets'), 0, 'never longer than 4 s');
  };
  await withPool(answer, run, { runtime });
});

test('A18: a connection that is not to be kept is not given to a request that waits either', async () => {
  const answer = ({ socket, connection }: RawRequest): boolean =>
    socket.write(reply(`${connection}`, 'Keep-Alive: timeout=2'));
  const run = async ({ pool }: Rig): Promise<void> => {
    const asked = [ask(pool), ask(pool)];
    assert.deepEqual(await Promise.all(asked.map(async ({ body }) => (await body).toString())), ['1', '2']);
  };
  await withPool(answer, run, { connections: 1 });
});

test('A18: a loop that stood still uses no connection whose time is over', async () => {
  let nowMs = 1000;
  const clock = { nowMs: () => nowMs, wallMs: () => nowMs };
  const runtime = createRuntime({ ...systemRuntimeOptions, clock, timers: createSystemTimers() });
  const run = async ({ pool, server }: Rig): Promise<void> => {
    await ask(pool).body;
    nowMs += 4001;
    await ask(pool).body;
    assert.equal(server.connections, 2);
  };
  await withPool(echo, run, { runtime });
});

test('no more connections than allowed; then three times as many wait, in order; then requests are refused', async () => {
  const held: RawRequest[] = [];
  const answer = (request: RawRequest): void => {
    held.push(request);
  };
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    const asked = ['/1', '/2'].map((path) => ask(pool, { path }));
    await until(() => held.length === 2, 'two at the server');
    asked.push(...['/3', '/4', '/5', '/6', '/7', '/8'].map((path) => ask(pool, { path })));
    assert.deepEqual([size('net.sockets'), size('net.waiting')], [2, 6]);
    const refused = ask(pool);
    assert.deepEqual(refused.heard, ['error']);
    await assert.rejects(refused.body, { code: 'server-busy' });
    for (let at = 0; at < 8; at += 1) {
      await until(() => held.length > at, `${at}`);
      echo(held[at]!);
    }
    await Promise.all(asked.map(({ body }) => body));
    assert.deepEqual(held.map(({ line }) => line.split(' ')[1]).slice(2), ['/3', '/4', '/5', '/6', '/7', '/8']);
    assert.deepEqual([server.connections, size('net.waiting')], [2, 0]);
  };
  await withPool(answer, run, { connections: 2 });
});

test('a request that waits is aborted there: its place is free at once, and no server hears of it', async () => {
  const held: RawRequest[] = [];
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    const first = ask(pool, { path: '/first' });
    await until(() => held.length === 1, 'the first');
    const waits = ask(pool, { path: '/waits' });
    const reason = new Error('enough');
    waits.controller.abort(reason);
    waits.controller.abort(new Error('again'));
    assert.deepEqual([waits.heard, waits.controller.aborted, size('net.waiting')], [['error'], true, 0]);
    await assert.rejects(waits.body, (fault) => fault === reason);
    const next = ask(pool, { path: '/next' });
    for (let at = 0; at < 2; at += 1) {
      await until(() => held.length > at, 'the next');
      echo(held[at]!);
    }
    await Promise.all([first.body, next.body]);
    assert.deepEqual(
      server.requests.map(({ line }) => line.split(' ')[1]),
      ['/first', '/next'],
    );
  };
  await withPool((request) => held.push(request), run, { connections: 1 });
});

test('a request in flight is aborted with its connection, and one that waits takes its place', async () => {
  const answer = (request: RawRequest): void => {
    if (request.line.includes('/next')) echo(request);
  };
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    const first = ask(pool, { path: '/first' });
    await until(() => server.requests.length === 1, 'the first');
    const next = ask(pool, { path: '/next' });
    first.controller.abort(new Error('enough'));
    assert.deepEqual([first.heard, size('net.sockets')], [['start', 'error'], 1], 'the slot has gone to the next');
    await next.body;
    await until(() => server.open.size === 1, 'the first connection closed');
    assert.deepEqual([server.connections, first.heard], [2, ['start', 'error']]);
  };
  await withPool(answer, run, { connections: 1 });
});

test('abort inside a callback is the last that its handler hears', async () => {
  const answer = ({ socket }: RawRequest): void => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n');
  };
  await withPool(answer, async ({ pool, server }) => {
    const expected = {
      start: ['start', 'error'],
      status: ['start', 'status', 'error'],
      data: ['start', 'status', 'data', 'error'],
    };
    for (const [when, heard] of Object.entries(expected)) {
      const asked = ask(pool, {
        on: (event, controller) => {
          if (event === when) controller.abort(new Error(when));
        },
      });
      await assert.rejects(asked.body, { message: when });
      await ask(pool).body;
      assert.deepEqual(asked.heard, heard);
    }
    // Requests that were aborted before a byte was written cost no connection.
    assert.deepEqual([server.requests.length, server.connections], [5, 3]);
  });
});

test('a handler that throws is reported and harms nobody else', async () => {
  await withPool(echo, async ({ pool, facts }) => {
    for (const when of ['start', 'status', 'data', 'end']) {
      const asked = ask(pool, {
        method: 'POST',
        body: Buffer.from('x'),
        on: (event) => {
          if (event === when) throw new HubError('internal', { message: when });
        },
      });
      if (when === 'end') await asked.body;
      else await assert.rejects(asked.body, { message: when });
      await ask(pool).body;
    }
    assert.deepEqual(
      facts.map((fact) => fact.type),
      ['task-faulted'],
    );
  });
});

// row A18 · guards src/net/_http-pool.ts
test('A18: idle connections that the server closes, ends or writes to are not used again', async () => {
  const ends: readonly ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.end(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.write('HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n'),
  ];
  const run = async ({ pool, server, size }: Rig): Promise<void> => {
    for (const end of ends) {
      await ask(pool).body;
      end(server.requests.at(-1)?.socket as Socket);
      await until(() => size('net.sockets') === 0, 'put away');
      assert.equal((await ask(pool, { method: 'POST', body: Buffer.from('y') }).body).toString(), 'y');
    }
  };
  // The clock stands still, so the sweep cannot be what closes them.
  await withPool(echo, run, { allowHalfOpen: true, runtime: frozenRuntime().runtime });
});

test('A18: a server that ends each connection behind its answer, without a word, loses no request', async () => {
  const answer = ({ socket, body }: RawRequest): unknown => socket.end(reply(body));
  for (const connections of [1, 4]) {
    const run = async ({ pool, server }: Rig): Promise<void> => {
      const body = Buffer.from('x');
      const post = { method: 'POST', body } as const;
      for (let turn = 0; turn < 100; turn += 1) {
        const both = [ask(pool, post).body, ask(pool, post).body];
        assert.deepEqual(await Promise.all(both), [body, body]);
        if (turn % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(server.requests.length, 200, 'and none is sent twice');
    };
    await withPool((request) => void answer(request), run, { connections });
  }
});

test('a connection that ends before its answer is whole is a loss, whoever ends it and how', async () => {
  const ends: readonly ((socket: Socket) => void)[] = [
    (socket) => socket.end(),
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-le'),
    (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf'),
    (socket) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'),
  ];
  let end: ((socket: Socket) => void) | undefined;
  const answer = (request: RawRequest): void => {
    if (end) end(request.socket);
    else echo(request);
  };
  await withPool(answer, async ({ pool, server }) => {
    for (const one of ends) {
      end = undefined;
      await ask(pool).body;
      end = one;
      const asked = ask(pool);
      await assert.rejects(asked.body, (fault) => isConnectionLoss(fault));
      assert.equal(asked.heard.filter((event) => event === 'error').length, 1);
    }
    assert.equal(server.requests.length, 2 * ends.length, 'nothing is sent twice');
  });
});

test('a body without a length goes on to the end of the connection', async () => {
  const answer = ({ socket }: RawRequest): unknown => socket.end('HTTP/1.0 200 OK\r\n\r\nto the end');
  await withPool(answer, async ({ pool, server }) => {
    for (let turn = 0; turn < 2; turn += 1) assert.equal((await ask(pool).body).toString(), 'to the end');
    assert.equal(server.connections, 2);
  });
});

test('a surplus behind an answer, and Connection: close, end the connection but not the answer', async () => {
  const answers = [Buffer.concat([reply('ok'), Buffer.from('HTTP/1.1 200 OK\r\n')]), reply('ok', 'Connection: close')];
  for (const bytes of answers) {
    const answer = ({ socket }: RawRequest): boolean => socket.write(bytes);
    await withPool(answer, async ({ pool, server }) => {
      for (let turn = 0; turn < 2; turn += 1) assert.equal((await ask(pool).body).toString(), 'ok');
      assert.equal(server.connections, 2);
      await until(() => server.open.size === 0, 'closed by us');
    });
  }
});

test('a server that speaks first, or no HTTP, or headers without end is refused, and little is read of it', async () => {
  const floods =
    (what: string) =>
    ({ socket }: RawRequest): void => {
      const chunk = Buffer.from(what.repeat(Math.ceil(65_536 / what.length)));
      const pour = (): void => {
        while (!socket.destroyed && socket.writable && socket.write(chunk));
      };
      socket.on('drain', pour);
      pour();
    };
  const cases: readonly [string, (request: RawRequest) => void, string][] = [
    ['garbage', ({ socket }) => socket.write('\0\0\0'), 'http-status-line'],
    ['headers', floods('HTTP/1.1 200 OK'), 'http-headers-too-large'],
    [
      'fields',
      (request) => {
        request.socket.write('HTTP/1.1 200 OK\r\n');
        floods('a: b\r\n')(request);
      },
      'http-headers-many',
    ],
    ['interim answers', floods('HTTP/1.1 103 x\r\n\r\n'), 'http-interim'],
  ];
  for (const [name, answer, reason] of cases) {
    await withPool(answer, async ({ pool, server }) => {
      await assert.rejects(ask(pool).body, (fault) => {
        assert.ok(fault instanceof HubError);
        assert.deepEqual([fault.code, fault.detail.reason], ['upstream-protocol', reason], name);
        return true;
      });
      await until(() => server.open.size === 0, 'closed by us');
    });
  }
  const greet = (socket: Socket): unknown => socket.write('220 mail.test ESMTP\r\n');
  await withPool(silent, async ({ pool }) => void (await assert.rejects(ask(pool).body)), {
    greet: (socket) => void greet(socket),
  });
});

test('an answer that comes byte by byte is whole', async () => {
  const answer = ({ socket }: RawRequest): void => {
    const bytes = Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
    let at = 0;
    const next = (): void => {
      if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), next);
      at += 1;
    };
    socket.setNoDelay(true);
    next();
  };
  await withPool(answer, async ({ pool, server }) => {
    for (let turn = 0; turn < 3; turn += 1) assert.equal((await ask(pool).body).toString(), 'hello');
    assert.equal(server.connections, 1);
  });
});

test('a handler that pauses is given nothing more, holds its server back, and gets all of it in the end', async () => {
  const big = randomBytes(30_000_000);
  const sums: string[] = [];
  let pauses = true;
  await withPool(
    (request) => void (request.body.length > 0 ? echo(request) : request.socket.write(reply(big))),
    async ({ pool, server }) => {
      const asked = ask(pool, {
        on: (event, controller) => {
          if (pauses && event === 'data') controller.pause();
        },
      });
      await until(() => asked.heard.includes('data'), 'data');
      const pieces = asked.heard.length;
      const socket = server.requests[0]?.socket as Socket;
      const left: number[] = [];
      for (let turn = 0; turn < 60; turn += 1) {
        left.push(socket.writableLength);
        await ask(pool, { method: 'POST', body: Buffer.from('x') }).body;
      }
      assert.equal(left.at(-1), left.at(-20), 'the kernel’s buffers are full, and nothing moves');
      assert.equal(asked.heard.length, pieces);
      assert.equal(socket.writableLength > 0, true, 'the server is held back');
      for (let turn = 0; turn < 20; turn += 1) {
        const seen = asked.heard.length;
        asked.controller.resume();
        await until(() => asked.heard.length > seen, 'the next piece');
        assert.equal(asked.heard.length, seen + 1, 'one piece for each resume');
      }
      pauses = false;
      asked.controller.resume();
      sums.push(
        createHash('sha256')
          .update(await asked.body)
          .digest('hex'),
      );
      assert.equal((await ask(pool).body).equals(big), true, 'the connection goes on');
      assert.equal(server.connections, 2);
    },
  );
  assert.deepEqual(sums, [createHash('sha256').update(big).digest('hex')]);
});

test('a pause holds in the middle of a read, over the end of the connection, and before the answer', async () => {
  const answer = ({ socket }: RawRequest): unknown =>
    socket.end(
      'HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n',
    );
  await withPool(
    (request) => void answer(request),
    async ({ pool, server }) => {
      const asked = ask(pool, {
        on: (event, controller) => {
          if (event !== 'end') controller.pause();
        },
      });
      const order: number[] = [];
      await until(() => server.requests.length === 1 && server.requests[0]?.socket.writableFinished === true, 'sent');
      for (let turn = 0; turn < 5; turn += 1) await ask(pool).body;
      assert.deepEqual(asked.heard, ['start'], 'though its answer has been there for long');
      for (let turn = 0; turn < 5 && !asked.heard.includes('end'); turn += 1) {
        order.push(asked.heard.length);
        asked.controller.resume();
        await until(() => asked.heard.length > order.length, 'one more');
        assert.equal(asked.heard.length, order.length + 1, 'one event for each resume');
      }
      assert.deepEqual(asked.heard, ['start', 'status', 'data', 'data', 'data', 'end']);
      assert.equal((await asked.body).toString(), 'abc');
    },
  );
});

test('a paused request that is aborted leaves nothing behind', async () => {
  await withPool(
    ({ socket }) => void socket.write(reply(Buffer.alloc(10_000_000))),
    async ({ pool, server, size }) => {
      const asked = ask(pool, { on: (event, controller) => event === 'data' && controller.pause() });
      await until(() => asked.heard.includes('data'), 'data');
      asked.controller.abort(new Error('enough'));
      asked.controller.resume();
      assert.equal(size('net.sockets'), 0);
      await until(() => server.open.size === 0, 'closed');
      assert.equal(asked.heard.at(-1), 'error');
    },
  );
});

test('an answer that comes before its request is written is given on, and the connection is not kept', async () => {
  const greet = (socket: Socket): void => {
    socket.once('data', () => {
      socket.pause();
      socket.write(reply('too large'));
    });
  };
  const run = async ({ pool, size }: Rig): Promise<void> => {
    const asked = ask(pool, { method: 'POST', body: Buffer.alloc(20_000_000) });
    assert.equal((await asked.body).toString(), 'too large');
    assert.equal(size('net.sockets'), 0);
  };
  await withPool(silent, run, { greet });
});

test('closing destroys at once what flies, waits and connects; afterwards everything is refused', async () => {
  const run = async ({ runtime, pool, server }: Rig): Promise<void> => {
    await ask(pool, { method: 'POST', body: Buffer.from('x') }).body;
    const flying = ask(pool, { path: '/flies' });
    await until(() => server.requests.length === 2, 'in flight');
    const connecting = ask(pool, { path: '/connects' });
    const waiting = ask(pool, { path: '/waits' });
    const deadline = runtime.deadline(1000);
    const closing = pool.close(deadline);
    for (const { heard, body } of [flying, connecting, waiting]) {
      assert.equal(heard.at(-1), 'error');
      await assert.rejects(body, { code: 'server-down' });
    }
    await closing;
    await pool.close(deadline);
    deadline[Symbol.dispose]();
    assert.equal(runtime.wheel.size, 0, 'no timer is left');
    const late = ask(pool);
    assert.deepEqual(late.heard, ['error']);
    await assert.rejects(late.body, { code: 'server-down' });
    await until(() => server.open.size === 0, 'closed');
    assert.equal(runtime.waits.size, 0);
    assert.equal(
      runtime.ceilings.table().some((row) => row.name.startsWith('net.sockets')),
      false,
    );
    assert.equal(flying.heard.length + connecting.heard.length + waiting.heard.length, 4, 'nothing follows');
  };
  await withPool((request) => request.body.length > 0 && echo(request), run, { connections: 2 });
});

test('what cannot be connected fails one by one, the longest wait first', async () => {
  await withPool(
    silent,
    async ({ pool, server, size }) => {
      await server.close();
      const order: string[] = [];
      const asked = ['a', 'b'].map((name) => ask(pool, { on: () => order.push(name) }));
      for (const { body } of asked)
        await assert.rejects(body, (fault) => fault instanceof HubError && fault.detail.reason === 'ECONNREFUSED');
      assert.deepEqual(order, ['a', 'b']);
      assert.deepEqual([size('net.sockets'), size('net.waiting')], [0, 0]);
    },
    { connections: 1 },
  );
});

test('a request that is not legal is refused before a byte is sent', async () => {
  await withPool(echo, async ({ pool, server }) => {
    const bad = [
      { path: '/a b' },
      { path: '/a\r\nx: y' },
      { headers: ['a', 'b\r\nx: y'] },
      { headers: ['a b', 'c'] },
      { headers: ['a:', 'c'] },
      { headers: ['a'] },
      { headers: ['Content-Length', '5'] },
      { headers: ['transfer-encoding', 'chunked'] },
      { headers: ['x', '가'] },
    ];
    for (const one of bad) await assert.rejects(ask(pool, one).body, { code: 'internal' }, JSON.stringify(one));
    assert.equal(server.connections, 0);
  });
});

test('a name with two addresses, of which one refuses, is reached', async () => {
  await withPool(
    echo,
    async ({ pool }) => {
      const body = Buffer.from('over the second');
      assert.equal((await ask(pool, { method: 'POST', body }).body).toString(), 'over the second');
    },
    { host: 'localhost' },
  );
});

test('ten thousand requests at 64 at once leave no sockets, no waits and no timers', async () => {
  await withPool(
    echo,
    async ({ pool, server, size, runtime }) => {
      let done = 0;
      const one = async (): Promise<void> => {
        for (let turn = 0; turn < 156; turn += 1) {
          const body = Buffer.from(`${turn}`);
          assert.equal((await ask(pool, { method: 'POST', body }).body).toString(), `${turn}`);
          done += 1;
        }
      };
      await Promise.all(Array.from({ length: 64 }, one));
      assert.deepEqual([done, server.connections], [64 * 156, 32]);
      assert.deepEqual([size('net.sockets'), size('net.waiting'), runtime.waits.size], [32, 0, 0]);
    },
    { connections: 32 },
  );
});

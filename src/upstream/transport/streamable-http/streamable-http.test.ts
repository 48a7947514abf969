import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../../../../test/support/fault-http.ts';
import type { FaultHttpFlags } from '../../../../test/support/fault-http-flags.ts';
import { callParams, type HttpRig, type HttpRigOptions, httpRig } from '../../../../test/support/http-rig.ts';
import { HubError } from '../../../model/errors.ts';
import { isRefusal } from '../../../model/outcome.ts';

async function withServer(
  flags: FaultHttpFlags,
  run: (rig: HttpRig, server: FaultHttp) => Promise<void>,
  options: HttpRigOptions = {},
): Promise<void> {
  const server = await startFaultHttp(flags);
  const rig = await httpRig(server.url, options);
  try {
    await run(rig, server);
  } finally {
    await rig.close();
    await server.close();
  }
}

// row A13 · guards src/upstream/transport/streamable-http/streamable-http.ts
test('a handshake gives session and version, a call its reply, and stop ends the session (A13)', async () => {
  await withServer({}, async (rig, server) => {
    await rig.shakeHands();
    assert.equal(server.seen.lastHeaders['mcp-session-id'], undefined);
    const reply = await rig.ask('tools/call', callParams('add', { a: 2, b: 3 }));
    assert.match(reply, /"text":"5"/);
    assert.match(String(server.seen.lastHeaders['mcp-session-id']), /^session-/);
    assert.equal(server.seen.lastHeaders['mcp-protocol-version'], '2025-06-18');
    assert.equal(server.seen.lastHeaders.accept, 'application/json, text/event-stream');
    await rig.until(() => server.seen.getStreams === 1, 'the GET stream');
    assert.deepEqual(server.seen.order.slice(0, 2), ['initialize', 'notifications/initialized']);
    await rig.close();
    assert.equal(server.seen.sessions, 0);
    assert.equal(server.seen.byMethod.DELETE, 1);
    await rig.until(() => server.seen.socketsOpen === 0, 'all sockets closed');
    assert.equal(rig.runtime.waits.size, 0);
    const names = rig.runtime.ceilings.table().map((row) => row.name);
    assert.equal(
      names.some((name) => name.startsWith('upstream.http')),
      false,
      'nothing stays on the ceilings page',
    );
  });
});

test('answers on event streams bring their notifications first, each with the exchange it belongs to', async () => {
  await withServer({ answer: 'sse' }, async (rig) => {
    await rig.shakeHands();
    const params = { ...callParams('progress', { steps: 3, ms: 5 }), _meta: { progressToken: 9 } };
    const reply = await rig.ask('tools/call', params);
    assert.match(reply, /"text":"done"/);
    const id = rig.told.at(-1)?.id;
    const progress = rig.told.filter(
      (entry) => entry.kind === 'message' && entry.text.includes('notifications/progress'),
    );
    assert.equal(progress.length, 3);
    for (const entry of progress) assert.equal(entry.id, id);
    assert.equal(rig.told.filter((entry) => entry.kind === 'alive' && entry.id === id).length >= 3, true);
  });
});

test('S13, S35: configured headers are sent legal, what belongs to the hop or the protocol is not taken from them', async () => {
  const headers = {
    Authorization: 'Bearer of-the-server',
    'X-Note': 'naïve',
    Connection: 'close',
    'Transfer-Encoding': 'chunked',
    'Content-Length': '3',
    'Mcp-Session-Id': 'forged',
    'bad name': 'x',
  };
  await withServer(
    {},
    async (rig, server) => {
      await rig.shakeHands();
      await rig.ask('ping');
      const seen = server.seen.lastHeaders;
      assert.equal(seen.authorization, 'Bearer of-the-server');
      assert.equal(seen['x-note'], "UTF-8''na%C3%AFve");
      assert.equal(seen.connection, 'keep-alive');
      assert.equal(seen['transfer-encoding'], undefined);
      assert.match(String(seen['mcp-session-id']), /^session-/);
    },
    { headers },
  );
});

test('requests wait for the answer to notifications/initialized, but no longer than a second', async () => {
  await withServer({ notificationMs: 100 }, async (rig, server) => {
    await rig.shakeHands();
    await rig.ask('tools/list');
    // The GET stream opens at the same moment, on a socket of its own.
    const order = server.seen.order.filter((method) => method !== 'GET');
    assert.deepEqual(order.slice(0, 3), ['initialize', 'notifications/initialized', 'tools/list']);
  });
  await withServer({ swallowInitialized: true }, async (rig, server) => {
    await rig.shakeHands();
    const startedMs = performance.now();
    const aborted = rig.begin('tools/call', callParams('echo', { text: 'never' }));
    assert.equal(rig.transport.abort(aborted), false, 'it has not left');
    await rig.ask('tools/list');
    const tookMs = performance.now() - startedMs;
    assert.equal(tookMs > 900 && tookMs < 1500, true, `${tookMs} ms`);
    assert.equal(server.seen.executions, 0, 'what was aborted while it waited is not sent');
  });
});

test('a server that asks its users has its stream before the first call; one that gives none keeps nobody for longer than handshakeMs', async () => {
  const orderWith = async (flags: FaultHttpFlags, interactive: boolean): Promise<{ order: string[]; ms: number }> => {
    let found = { order: [] as string[], ms: 0 };
    await withServer(
      flags,
      async (rig, server) => {
        let streamsAtCall = 0;
        flags.heard = ({ method }) => {
          if (method === 'tools/call') streamsAtCall = server.seen.getStreams;
        };
        await rig.shakeHands();
        const startedMs = performance.now();
        await rig.ask('tools/call', callParams('echo', { text: 'x' }));
        found = { order: [...server.seen.order, `${streamsAtCall} open`], ms: performance.now() - startedMs };
      },
      { interactive, limits: { handshakeMs: 1000 } },
    );
    return found;
  };
  const slow = await orderWith({ getMs: 150 }, true);
  assert.deepEqual(slow.order.slice(2), ['GET', 'tools/call', '1 open']);
  assert.ok(slow.ms >= 140 && slow.ms < 900, `${slow.ms} ms`);
  for (const get of ['none', 'fails', 'ends'] as const) {
    const { order, ms } = await orderWith({ get }, true);
    assert.equal(order[3], 'tools/call', get);
    assert.ok(ms < 900, `${get}: ${ms} ms`);
  }
  const never = await orderWith({ get: 'silent' }, true);
  assert.ok(never.ms > 900 && never.ms < 1500, `${never.ms} ms`);
  assert.ok((await orderWith({ getMs: 700 }, false)).ms < 500, 'others have nothing to wait for');
});

// row A3 · guards src/upstream/transport/streamable-http/exchange.ts
test('A3: aborted requests are closed at the wire at once and leave nothing open', async () => {
  await withServer({ silent: true }, async (rig, server) => {
    await rig.shakeHands();
    const ids = Array.from({ length: 20 }, () => rig.begin('tools/call', callParams('echo', { text: 'x' })));
    await rig.until(() => server.seen.byMethod['tools/call'] === 20, 'all sent');
    for (const id of ids) assert.equal(rig.transport.abort(id), true, 'the server has it');
    await rig.until(() => server.seen.closes === 20, '20 closes');
    assert.equal(
      rig.told.some((entry) => entry.kind === 'failed'),
      false,
      'nobody waits for them any more',
    );
    await rig.ask('ping');
  });
});

// row A1, A4 · guards src/upstream/transport/streamable-http/streamable-http.ts
test('A1, A4: a hung server takes a bounded number of sockets, refuses what is above, and pings still pass', async () => {
  await withServer(
    { silent: true },
    async (rig, server) => {
      await rig.shakeHands();
      const ids = Array.from({ length: 8 }, () => rig.begin('tools/call', callParams('echo', { text: 'x' })));
      await rig.ask('ping');
      const send = (): unknown => rig.transport.send(Buffer.from('{}'), 10_000, rig.runtime.deadline(1000));
      const refused = Array.from({ length: 1000 }, send).filter((outcome) => isRefusal(outcome as undefined));
      assert.equal(refused.length >= 995, true, `${refused.length} refused`);
      assert.equal(server.seen.socketsOpen <= 16, true, `${server.seen.socketsOpen} sockets`);
      for (const id of ids) rig.transport.abort(id);
    },
    { limits: { serverConnections: 8 } },
  );
});

test('notifications to a server that never answers them are bounded and end by themselves', async () => {
  await withServer(
    { notificationMs: 60_000 },
    async (rig, server) => {
      await rig.shakeHands();
      await rig.until(() => server.seen.closes >= 1, 'the first given up');
      let refused = 0;
      for (let at = 0; at < 400; at += 1) {
        const frame = Buffer.from('{"jsonrpc":"2.0","method":"notifications/cancelled"}');
        if (isRefusal(rig.transport.send(frame, undefined, rig.runtime.deadline(5000)))) refused += 1;
      }
      assert.equal(refused, 400 - 256 - 3);
      await rig.ask('tools/call', callParams('echo', { text: 'x' }));
      assert.equal(server.seen.socketsOpen < 8, true);
      const full = rig.runtime.ceilings.table().find((row) => row.name === 'upstream.http.outbox');
      assert.equal(full?.overflowed, refused);
    },
    { limits: { handshakeMs: 300 } },
  );
});

// row A21 · guards src/upstream/transport/streamable-http/session.ts
test('A21: a server that swallows DELETE does not hold up stop', async () => {
  await withServer(
    { swallowDelete: true },
    async (rig, server) => {
      await rig.shakeHands();
      const startedMs = performance.now();
      await rig.transport.stop(rig.runtime.deadline(8000));
      assert.equal(performance.now() - startedMs < 700, true);
      assert.equal(server.seen.byMethod.DELETE, 1);
      const after = rig.transport.send(Buffer.from('{}'), 77, rig.runtime.deadline(100));
      assert.equal(isRefusal(after) && after.code, 'server-down');
      await rig.transport.stop(rig.runtime.deadline(100));
    },
    { limits: { handshakeMs: 200 } },
  );
});

// row A9 · guards src/upstream/transport/streamable-http/streamable-http.ts
test('A9: a forgotten session is told once, and after a new handshake calls go on in the new session', async () => {
  for (const forgetWith400 of [false, true]) {
    await withServer({ forgetAfter: 3, forgetWith400, get: 'none' }, async (rig, server) => {
      await rig.shakeHands();
      await rig.until(() => server.seen.byMethod.GET === 1, 'GET');
      await rig.ask('tools/call', callParams('echo', { text: 'one' }));
      const before = server.seen.lastHeaders['mcp-session-id'];
      server.flags.forgetAfter = 0;
      await assert.rejects(rig.ask('tools/call', callParams('echo', { text: 'two' })), { kind: 'lost' });
      assert.equal(server.seen.executions, 1, 'not executed');
      server.flags.forgetAfter = 100;
      rig.transport.forgetSession();
      await rig.shakeHands();
      assert.equal(server.seen.lastHeaders['mcp-session-id'] === before, false);
      assert.match(await rig.ask('tools/call', callParams('echo', { text: 'three' })), /three/);
    });
  }
});

test('a launched program is started first, its port goes into the URL, and it is waited for until it listens', async () => {
  const free = createServer();
  const port = await new Promise<number>((resolve) => {
    free.listen(0, '127.0.0.1', () => resolve((free.address() as AddressInfo).port));
  });
  await new Promise((resolve) => free.close(resolve));
  let server: FaultHttp | undefined;
  let stopped = 0;
  const launched = {
    start: () => {
      setTimeout(() => void startFaultHttp({ port }).then((one) => (server = one)), 250);
      return Promise.resolve({ port });
    },
    stop: () => {
      stopped += 1;
      return Promise.resolve();
    },
    cpuReadMs: () => undefined,
    cpuMs: () => 42,
    stderrTail: () => ['last words'],
  };
  const rig = await httpRig(`http://127.0.0.1:${'$'}{PORT}/mcp`, { launched });
  assert.deepEqual(
    rig.told.map((entry) => entry.text),
    // The program itself tells of its start, when its turn has come.
    ['connect'],
  );
  await rig.shakeHands();
  assert.match(await rig.ask('tools/call', callParams('echo', { text: 'up' })), /up/);
  assert.equal(rig.transport.cpuMs(), 42);
  assert.deepEqual(rig.transport.stderrTail(), ['last words']);
  await rig.close();
  assert.equal(stopped, 1);
  assert.equal(server?.seen.byMethod.DELETE, undefined, 'its sessions end with it');
  await server?.close();
});

test('a launched program that never listens ends the start by name at its deadline', async () => {
  let stopped = 0;
  const launched = {
    start: () => Promise.resolve({ port: 1 }),
    stop: () => {
      stopped += 1;
      return Promise.resolve();
    },
    cpuReadMs: () => undefined,
    cpuMs: () => undefined,
    stderrTail: () => [],
  };
  await assert.rejects(httpRig(`http://127.0.0.1:${'$'}{PORT}/mcp`, { launched, startMs: 300 }), (fault) => {
    assert.ok(fault instanceof HubError);
    assert.deepEqual([fault.code, fault.detail.phase, fault.detail.setting], ['upstream-connect', 'start', 'startMs']);
    return true;
  });
  assert.equal(stopped, 1, 'stop after a failed start ends the program');
});

test('large answers share a budget per server, and all of it is given back', async () => {
  await withServer(
    {},
    async (rig) => {
      await rig.shakeHands();
      const sizes = Array.from({ length: 4 }, () => rig.ask('tools/call', callParams('big', { bytes: 60_000 })));
      await Promise.all(sizes);
      const row = () => rig.runtime.ceilings.table().find((one) => one.name === 'upstream.http.buffered');
      await rig.until(() => row()?.size === 0, 'all given back');
      assert.equal((row()?.peak ?? 0) >= 60_000, true);
      assert.equal(row()?.max, 4 * 65_536);
    },
    { limits: { answerBytes: 65_536 } },
  );
});

test('a listener that throws is reported and the transport goes on', async () => {
  await withServer({}, async (rig) => {
    await rig.shakeHands();
    const broken = rig.told.push;
    rig.told.push = () => {
      rig.told.push = broken;
      throw new Error('a broken listener');
    };
    rig.begin('ping');
    await rig.until(() => rig.facts.some((fact) => fact.type === 'task-faulted'), 'the report');
    await rig.ask('ping');
  });
});

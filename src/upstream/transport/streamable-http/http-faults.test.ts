import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../../../../test/support/fault-http.ts';
import type { FaultHttpFlags } from '../../../../test/support/fault-http-flags.ts';
import { callParams, type HttpRig, httpRig } from '../../../../test/support/http-rig.ts';
import { HubError } from '../../../model/errors.ts';

const MiB = 1024 * 1024;

async function withFault(
  flags: FaultHttpFlags,
  run: (rig: HttpRig, server: FaultHttp) => Promise<void>,
  limits: Record<string, number> = {},
): Promise<void> {
  const server = await startFaultHttp({ get: 'none', ...flags });
  const rig = await httpRig(server.url, { limits });
  try {
    await rig.shakeHands();
    await run(rig, server);
  } finally {
    await rig.close();
    await server.close();
  }
}

/** Makes a call that fails, and gives the fault. Then a ping must pass: the fault harmed nobody else. */
async function faultOf(rig: HttpRig): Promise<HubError> {
  let fault: unknown;
  try {
    await rig.ask('tools/call', callParams('echo', { text: 'x' }));
  } catch (caught) {
    fault = caught;
  }
  assert.ok(fault instanceof HubError, String(fault));
  assert.equal(fault.detail.server, 'fault', 'A23: the server is named');
  assert.equal(typeof fault.detail.phase, 'string', 'A23: the phase is named');
  await rig.ask('ping');
  return fault;
}

// row A2 · guards src/upstream/transport/streamable-http/exchange.ts
test('A2: a body that trickles shows life but is ended at the wire by abort', async () => {
  await withFault({ trickleMs: 20 }, async (rig, server) => {
    const id = rig.begin('tools/call', callParams('echo', { text: 'x' }));
    await rig.until(() => rig.told.filter((entry) => entry.kind === 'alive' && entry.id === id).length > 3, 'life');
    rig.transport.abort(id);
    await rig.until(() => server.seen.closes === 1, 'the close');
    const lives = rig.told.length;
    await rig.ask('ping');
    assert.equal(
      rig.told.slice(lives).some((entry) => entry.id === id),
      false,
      'nothing comes after abort',
    );
  });
});

test('a stream of comments shows life and gives no message', async () => {
  await withFault({ answer: 'sse', dripMs: 20 }, async (rig, server) => {
    const id = rig.begin('tools/call', callParams('echo', { text: 'x' }));
    await rig.until(() => rig.told.filter((entry) => entry.kind === 'alive' && entry.id === id).length > 3, 'life');
    assert.equal(
      rig.told.some((entry) => entry.kind === 'message' && entry.id === id),
      false,
    );
    rig.transport.abort(id);
    await rig.until(() => server.seen.closes === 1, 'the close');
  });
});

// row A19 · guards src/upstream/transport/http/answer.ts
test('A19: redirects are refused by name and never followed', async () => {
  await withFault({ redirectLoop: true }, async (rig, server) => {
    const fault = await faultOf(rig);
    assert.deepEqual([fault.code, fault.detail.status, fault.detail.reason], ['upstream-http', 302, 'redirect']);
    assert.equal(server.seen.byMethod['tools/call'], 1);
  });
  await withFault({ redirectTo: 'http://169.254.169.254/latest?token=secret' }, async (rig) => {
    const fault = await faultOf(rig);
    assert.match(fault.message, /169\.254\.169\.254\/latest;/);
    assert.equal(fault.message.includes('secret'), false);
  });
});

// row A20 · guards src/upstream/transport/streamable-http/exchange.ts
test('A20: of a 50 MB error page 64 KiB are read and 2 KB are quoted', async () => {
  await withFault({ badGatewayBytes: 50 * MiB }, async (rig, server) => {
    const fault = await faultOf(rig);
    assert.deepEqual([fault.code, fault.detail.status], ['upstream-http', 502]);
    assert.equal(String(fault.detail.operator?.body).length <= 2048, true);
    await rig.until(() => server.seen.open === 0, 'the page is not read on');
    assert.equal(server.seen.bytes < 16 * MiB, true, `${server.seen.bytes} bytes`);
  });
});

test('a result of 300 MiB is cut at the limit, and the limit is named', async () => {
  await withFault(
    { hugeBytes: 300 * MiB },
    async (rig, server) => {
      const fault = await faultOf(rig);
      assert.deepEqual([fault.code, fault.detail.setting], ['upstream-too-large', 'answerBytes']);
      await rig.until(() => server.seen.open === 0, 'the cut');
      assert.equal(server.seen.bytes < 32 * MiB, true, `${server.seen.bytes} bytes`);
    },
    { answerBytes: MiB },
  );
});

test('a large answer within the limit comes whole, as JSON and as SSE', async () => {
  for (const answer of ['json', 'sse'] as const) {
    await withFault({ answer }, async (rig) => {
      const reply = await rig.ask('tools/call', callParams('big', { bytes: 3 * MiB }));
      assert.equal(reply.length > 3 * MiB, true);
      assert.equal(JSON.parse(reply).result.content[0].text.length, 3 * MiB);
    });
  }
});

test('answers that are no MCP are named so: garbage, another type, another id', async () => {
  for (const flags of [{ garbage: true }, { html: true }, { wrongId: true }]) {
    await withFault(flags, async (rig) => {
      const fault = await faultOf(rig);
      assert.equal(fault.code, 'garbage' in flags ? 'upstream-invalid' : 'upstream-protocol', JSON.stringify(flags));
      assert.equal(
        rig.told.some((entry) => entry.text.includes('999999999')),
        false,
        'a foreign id reaches nobody',
      );
    });
  }
});

test('a second reply to the same request reaches nobody', async () => {
  for (const answer of ['json', 'sse'] as const) {
    await withFault({ answer, duplicate: true }, async (rig) => {
      await rig.ask('tools/call', callParams('echo', { text: 'x' }));
      const id = rig.told.at(-1)?.id;
      await rig.ask('ping');
      assert.equal(rig.told.filter((entry) => entry.kind === 'message' && entry.id === id).length, 1, answer);
    });
  }
});

test('a stream that ends early, and an answer that is cut, are gone with unknown outcome', async () => {
  for (const flags of [{ answer: 'sse', endsEarly: true }, { cuts: true }] as const) {
    await withFault(flags, async (rig) => {
      const fault = await faultOf(rig);
      assert.deepEqual([fault.code, fault.detail.outcome, fault.detail.phase], ['upstream-gone', 'unknown', 'answer']);
    });
  }
});

test('a stream that stays open after its reply is closed within about a second', async () => {
  await withFault({ answer: 'sse', lingers: true, faultMethods: [] }, async (rig, server) => {
    await rig.ask('tools/call', callParams('echo', { text: 'x' }));
    await rig.until(() => server.seen.open === 0, 'closed');
    assert.equal(
      rig.told.some((entry) => entry.kind === 'failed'),
      false,
    );
  });
});

test('refused credentials, overload and a plain 500 are told apart', async () => {
  const cases = [
    [401, 'upstream-auth', 'not-executed'],
    [403, 'upstream-auth', 'not-executed'],
    [429, 'upstream-http', 'not-executed'],
    [500, 'upstream-http', 'unknown'],
  ] as const;
  for (const [status, code, outcome] of cases) {
    await withFault({ status }, async (rig) => {
      const fault = await faultOf(rig);
      assert.deepEqual([fault.code, fault.detail.status, fault.detail.outcome], [code, status, outcome]);
    });
  }
});

test('a JSON-RPC error for this request is the server’s answer, whatever the HTTP status', async () => {
  await withFault({ rpcErrorStatus: 400 }, async (rig) => {
    assert.match(await rig.ask('tools/call', callParams('echo', {})), /bad arguments/);
  });
});

// row A22 · guards src/upstream/transport/streamable-http/exchange.ts
test('A22: a thousand error answers leave no sockets behind', async () => {
  await withFault({ status: 500 }, async (rig, server) => {
    for (let round = 0; round < 50; round += 1) {
      const calls = Array.from({ length: 20 }, () => rig.ask('tools/call', callParams('echo', {})).catch(() => {}));
      await Promise.all(calls);
    }
    assert.equal(server.seen.byMethod['tools/call'], 1000);
    assert.equal(server.seen.open, 0);
    assert.equal(server.seen.sockets < 60, true, `${server.seen.sockets} sockets for 1,000 errors`);
  });
});

// row A18 · guards src/upstream/transport/streamable-http/exchange.ts
test('A18: a request that meets a closing socket is sent again only if it may happen twice', async () => {
  await withFault({ resets: 1, faultMethods: ['tools/list', 'tools/call'] }, async (rig, server) => {
    assert.match(await rig.ask('tools/list'), /echo/);
    assert.equal(server.seen.byMethod['tools/list'], 2);
    server.flags.resets = 1;
    const fault = await faultOf(rig);
    assert.deepEqual([fault.code, fault.detail.outcome, fault.detail.phase], ['upstream-gone', 'unknown', 'request']);
    assert.equal(server.seen.byMethod['tools/call'], 1, 'never sent twice');
    server.flags.resets = 2;
    await assert.rejects(rig.ask('tools/list'), { code: 'upstream-gone' }, 'once, not for ever');
  });
});

test('A18: idle sockets are put away by us before a server that closes them at 5 s does', async () => {
  await withFault({ idleHint: false }, async (rig, server) => {
    const startedMs = performance.now();
    await rig.ask('ping');
    await rig.until(() => server.seen.socketsOpen === 0, 'idle sockets closed');
    const idleMs = performance.now() - startedMs;
    assert.equal(idleMs > 3500 && idleMs < 4900, true, `${Math.round(idleMs)} ms`);
  });
});

test('A18: a server that closes at 1 s and says so never breaks a call', async () => {
  await withFault({ idleCloseMs: 1000 }, async (rig, server) => {
    for (let at = 0; at < 200; at += 1) await rig.ask('tools/call', callParams('echo', { text: 'x' }));
    assert.equal(server.seen.executions, 200);
    assert.equal(
      rig.told.some((entry) => entry.kind === 'failed'),
      false,
    );
  });
});

test('a server that is not there is refused at once, with nothing executed', async () => {
  const server = await startFaultHttp();
  const rig = await httpRig(server.url);
  await server.close();
  await assert.rejects(rig.ask('initialize'), (fault) => {
    assert.ok(fault instanceof HubError);
    assert.deepEqual(
      [fault.code, fault.detail.outcome, fault.detail.phase],
      ['upstream-connect', 'not-executed', 'connect'],
    );
    return true;
  });
  await rig.close();
});

test('requests that still wait for their connection are aborted at once, and their places are free', async () => {
  const mute = createServer((socket) => socket.on('error', () => {}).resume());
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
  const { port } = mute.address() as AddressInfo;
  const rig = await httpRig(`https://127.0.0.1:${port}/mcp`, { limits: { serverConnections: 2, connectMs: 60_000 } });
  const fill = (): number[] => {
    const ids: number[] = [];
    for (;;) {
      try {
        ids.push(rig.begin('ping'));
      } catch {
        return ids;
      }
    }
  };
  const first = fill();
  assert.equal(first.length > 2, true);
  for (const id of first) rig.transport.abort(id);
  assert.equal(fill().length, first.length, 'as many as before');
  await rig.close();
  assert.equal(rig.runtime.waits.size, 0);
  assert.equal(
    rig.told.some((entry) => entry.kind === 'failed' && first.includes(entry.id ?? -1)),
    false,
  );
  await new Promise((resolve) => mute.close(resolve));
});

/**
 * What servers do with the GET stream: block on it, answer calls on it, open it late, ask on it with ids that are too
 * long.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { callParams, type HttpRig, type HttpRigOptions, httpRig } from '../support/http-rig.ts';
import { startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { answerAsUsual, sse, startWireServer, type WireRequest, type WireServer } from '../support/wire-server.ts';

type On = (at: WireRequest) => boolean;

async function withRig(
  on: On,
  options: HttpRigOptions,
  run: (rig: HttpRig, server: WireServer) => Promise<void>,
): Promise<void> {
  await using server = await startWireServer({ on });
  const rig = await httpRig(server.url, options);
  try {
    await run(rig, server);
  } finally {
    await rig.close();
  }
}

const call = (rig: HttpRig) => rig.ask('tools/call', callParams('echo', {}));
const notes = (rig: HttpRig) => rig.told.filter(({ kind }) => kind === 'learned').map(({ text }) => text);

function openEvents(response: ServerResponse): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n');
  return response;
}

/** Handles one request at a time, as a server with one thread does: a GET that is open keeps all others waiting. */
function oneAtATime(): On {
  const waiting: (() => void)[] = [];
  let isBusy = false;
  const next = (): void => {
    isBusy = false;
    waiting.shift()?.();
  };
  return (at) => {
    const run = (): void => {
      isBusy = true;
      at.response.on('close', next);
      if (at.request.method === 'GET') openEvents(at.response);
      else answerAsUsual(at);
    };
    if (isBusy) waiting.push(run);
    else run();
    return true;
  };
}

describe('a server that handles one request at a time', { concurrency: true, timeout: 30_000 }, () => {
  // case: SV14
  test('loses its GET stream after two requests that waited for it, and says so', async () => {
    await withRig(oneAtATime(), {}, async (rig, server) => {
      await rig.shakeHands();
      const startMs = performance.now();
      await rig.ask('tools/list');
      // The server may take a request that comes with the GET before it.
      for (let at = 0; at < 5 && notes(rig).length === 0; at += 1) await rig.ask('ping');
      assert.ok(performance.now() - startMs < 6000, 'each within the times of lists');
      assert.match(notes(rig)[0] ?? '', /GET stream .* stays closed/);
      const quickMs = performance.now();
      for (let at = 0; at < 20; at += 1) assert.match(await call(rig), /echoed/);
      assert.ok(performance.now() - quickMs < 1000);
      assert.equal(server.count('GET'), 2);
    });
  });

  // case: SV14
  test('has none from the start where the configuration says so', async () => {
    await withRig(oneAtATime(), { getStream: false }, async (rig, server) => {
      await rig.shakeHands();
      const startMs = performance.now();
      assert.match(await call(rig), /echoed/);
      assert.ok(performance.now() - startMs < 1000);
      assert.equal(server.count('GET'), 0);
      assert.deepEqual(notes(rig), []);
    });
  });

  // case: SV14
  test('is distinguished from one whose lists are slow: that one keeps its stream, which is never closed', async () => {
    const slow: On = (at) => {
      if (at.request.method === 'GET') openEvents(at.response);
      else if (at.message.method === 'tools/list') setTimeout(() => answerAsUsual(at), 2500);
      else answerAsUsual(at);
      return true;
    };
    await withRig(slow, {}, async (rig, server) => {
      await rig.shakeHands();
      await rig.ask('tools/list');
      for (let at = 0; at < 5; at += 1) await call(rig);
      await rig.ask('tools/list');
      assert.match(await call(rig), /echoed/);
      assert.equal(server.count('GET'), 1);
      assert.deepEqual(notes(rig), []);
    });
  });

  // case: SV14
  test('is distinguished from one that is slow to answer anything: that one gets its stream back', async () => {
    let isSlow = true;
    const slow: On = (at) => {
      if (at.request.method === 'GET') openEvents(at.response);
      else if (isSlow && (at.message.method === 'tools/list' || at.message.method === 'ping'))
        setTimeout(() => answerAsUsual(at), 4000);
      else answerAsUsual(at);
      return true;
    };
    await withRig(slow, {}, async (rig, server) => {
      await rig.shakeHands();
      await rig.ask('tools/list');
      await rig.until(() => server.count('GET') === 2, 'opened again');
      isSlow = false;
      for (let at = 0; at < 5; at += 1) await call(rig);
      assert.equal(server.count('GET'), 2);
      assert.deepEqual(notes(rig), []);
    });
  });

  // case: SV14
  // finding: SR-A18
  test('is distinguished from one whose first calls take two seconds, while others of it are quick', async () => {
    for (const quickEveryMs of [undefined, 300]) {
      const calls: On = (at) => {
        if (at.request.method === 'GET') openEvents(at.response);
        else if (at.message.method === 'tools/call') setTimeout(() => answerAsUsual(at), 2000);
        else answerAsUsual(at);
        return true;
      };
      await withRig(calls, {}, async (rig, server) => {
        await rig.shakeHands();
        await rig.until(() => server.count('GET') === 1, 'GET');
        let isOver = false;
        const quick = async (): Promise<void> => {
          while (!isOver && quickEveryMs !== undefined) {
            await rig.ask('resources/read', { uri: 'a:b' });
            await new Promise((resolve) => setTimeout(resolve, quickEveryMs));
          }
        };
        const beside = quick();
        for (let at = 0; at < 3; at += 1) assert.match(await call(rig), /echoed/);
        isOver = true;
        await beside;
        assert.deepEqual(notes(rig), []);
      });
    }
  });
});

describe('a reply on the GET stream after its POST has ended', { concurrency: true, timeout: 30_000 }, () => {
  function laterOnStream(end: (response: ServerResponse) => void, laterMs: number, goes = true): On {
    let stream: ServerResponse | undefined;
    return (at) => {
      if (at.request.method === 'GET') stream = openEvents(at.response);
      else if (at.message.method === 'tools/call') {
        end(at.response);
        if (goes) setTimeout(() => stream?.write(sse(at.reply ?? '')), laterMs).unref();
        else setTimeout(() => stream?.end(), laterMs).unref();
      } else return false;
      return true;
    };
  }
  const ends: readonly [string, (response: ServerResponse) => void][] = [
    ['HTTP 202', (response) => response.writeHead(202).end()],
    ['HTTP 202 with a word', (response) => response.writeHead(202, { 'content-type': 'text/plain' }).end('Accepted')],
    ['an empty event stream', (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end()],
    ['an empty body', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end()],
  ];
  // case: SV11
  for (const [what, end] of ends)
    test(`${what}: it is the answer`, async () => {
      await withRig(laterOnStream(end, 200), {}, async (rig, server) => {
        await rig.shakeHands();
        await rig.until(() => server.count('GET') === 1, 'GET');
        await rig.ask('ping');
        assert.match(await call(rig), /echoed/);
        assert.equal(server.count('tools/call'), 1);
        assert.match(await call(rig), /echoed/, 'its place is free');
      });
    });

  // case: SV11, SV26
  test('an error without an id is the answer of the only call that waits for one there, and of no other', async () => {
    const nameless = sse('{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"bad arguments"}}');
    let stream: ServerResponse | undefined;
    const on: On = (at) => {
      if (at.request.method === 'GET') stream = openEvents(at.response);
      else if (at.message.method !== 'tools/call') return false;
      else if (at.message.params?.name === 'big') setTimeout(() => answerAsUsual(at), 600).unref();
      else {
        at.response.writeHead(202).end();
        setTimeout(() => stream?.write(nameless), 50).unref();
      }
      return true;
    };
    await withRig(on, {}, async (rig, server) => {
      await rig.shakeHands();
      await rig.until(() => server.count('GET') === 1, 'GET');
      await rig.ask('ping');
      const slow = rig.ask('tools/call', callParams('big', {}));
      await rig.until(() => server.count('tools/call') === 1, 'the slow call');
      stream?.write(nameless);
      await rig.until(() => rig.told.some(({ kind }) => kind === 'unmatched'), 'an error that belongs to none');
      assert.match(await call(rig), /bad arguments/);
      assert.match(await slow, /xxx/);
    });
  });

  // case: SV11
  test('it is not waited for without a stream, beyond its end, or for longer than silenceMs before one has ever come', async () => {
    const [, accept] = ends[0] as (typeof ends)[number];
    const limits = { silenceMs: 1000 };
    const without: On = (at) => {
      if (at.message.method !== 'tools/call') return false;
      accept(at.response);
      return true;
    };
    await withRig(without, { limits }, async (rig) => {
      await rig.shakeHands();
      await rig.ask('ping');
      const startMs = performance.now();
      await assert.rejects(call(rig), { code: 'upstream-protocol' });
      assert.ok(performance.now() - startMs < 500);
    });
    for (const [laterMs, atLeastMs, atMostMs] of [
      [300, 250, 900],
      [60_000, 900, 1600],
    ] as const)
      await withRig(laterOnStream(accept, laterMs, false), { limits }, async (rig, server) => {
        await rig.shakeHands();
        await rig.until(() => server.count('GET') === 1, 'GET');
        await rig.ask('ping');
        const startMs = performance.now();
        await assert.rejects(call(rig), { code: 'upstream-protocol' });
        const tookMs = performance.now() - startMs;
        assert.ok(tookMs > atLeastMs && tookMs < atMostMs, `${tookMs} ms`);
      });
  });

  // case: SV11
  test('a call that is cancelled while it waits leaves nothing', async () => {
    const [, accept] = ends[0] as (typeof ends)[number];
    await withRig(laterOnStream(accept, 60_000), { limits: { serverConnections: 1 } }, async (rig, server) => {
      await rig.shakeHands();
      await rig.until(() => server.count('GET') === 1, 'GET');
      await rig.ask('ping');
      for (let at = 0; at < 30; at += 1) {
        const id = rig.begin('tools/call', callParams('echo', {}));
        await rig.until(() => server.count('tools/call') === at + 1, 'sent');
        await new Promise((resolve) => setTimeout(resolve, 10));
        assert.equal(rig.transport.abort(id), true);
      }
      const row = rig.runtime.ceilings.table().find(({ name }) => name === 'upstream.http.exchanges');
      assert.equal(row?.size, 0);
    });
  });
});

describe('the first question', { concurrency: true, timeout: 30_000 }, () => {
  // case: SV47
  test('waits for a GET stream that opens late; lists do not', async () => {
    const late: On = (at) => {
      if (at.request.method !== 'GET') return false;
      setTimeout(() => openEvents(at.response), 1800);
      return true;
    };
    await withRig(late, { interactive: true }, async (rig) => {
      await rig.shakeHands();
      const startMs = performance.now();
      const answered = call(rig);
      await rig.ask('tools/list');
      const listedMs = performance.now() - startMs;
      assert.ok(listedMs < 1000, `list: ${listedMs} ms`);
      await answered;
      const calledMs = performance.now() - startMs;
      assert.ok(calledMs > 1200 && calledMs < 3000, `call: ${calledMs} ms`);
    });
  });
});

describe('behind a hub', { timeout: 60_000 }, () => {
  const id = 'q'.repeat(300);
  const refused: unknown[] = [];
  const asking: On = (at) => {
    if (at.message.error) refused.push([at.message.id, at.message.error.code]);
    if (at.message.method !== 'tools/call') return false;
    const question = JSON.stringify({ jsonrpc: '2.0', id, method: 'elicitation/create', params: {} });
    at.response.writeHead(200, { 'content-type': 'text/event-stream' }).write(sse(question));
    const timer = setInterval(() => {
      if (refused.length === 0) return;
      clearInterval(timer);
      at.response.end(sse(at.reply ?? ''));
    }, 20);
    at.response.on('close', () => clearInterval(timer));
    return true;
  };

  // case: SV14, SV47
  test('one request at a time is learned and shown, or configured; a question with an id that is too long is refused with -32600', async () => {
    await using learned = await startWireServer({ on: oneAtATime() });
    await using told = await startWireServer({ on: oneAtATime() });
    await using asks = await startWireServer({ on: asking });
    await using hub = await startHub({
      config: {
        mcpServers: {
          learned: { url: learned.url },
          told: { url: told.url, getStream: false },
          asks: { url: asks.url },
        },
      },
    });
    const isAnswered = async (server: string) =>
      (await callTool(`${hub.url}/mcp`, `${server}_echo`, {}, { key: hub.key })).json?.result !== undefined;
    for (const server of ['told', 'asks', 'learned']) await until(() => isAnswered(server), 20_000, server);
    assert.equal(told.count('GET'), 0);
    assert.deepEqual(refused[0], [id, -32600]);
    const shown = async (): Promise<string[]> => {
      await isAnswered('learned');
      const { stdout } = await mcphub(['servers', 'list', '--json', '--data-dir', hub.dataDir]);
      const { servers } = JSON.parse(stdout) as { servers: { slug: string; hubs: { notes?: string[] }[] }[] };
      return servers.filter(({ hubs }) => /GET stream/.test(hubs[0]?.notes?.[0] ?? '')).map(({ slug }) => slug);
    };
    await until(async () => (await shown()).join() === 'learned', 15_000, 'shown');
  });
});

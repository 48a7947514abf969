/**
 * The goals that are not a plain ratio to nginx: memory, start, a frozen server, many servers, stdio.
 */

import { readFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { delay, freePort, until } from '../test/support/hub.ts';
import { measure } from './measure.ts';
import {
  type BenchHub,
  descendantsOf,
  rssMb,
  startBenchHub,
  startUpstream,
  stopChild,
  type Tools,
  untilToolsListed,
} from './targets.ts';

export interface ExtraOptions {
  readonly seconds: number;
  readonly nginxPerSecond: number;
}

export async function extraFigures(tools: Tools, options: ExtraOptions): Promise<Record<string, number>> {
  return {
    ...(await memoryFigures(tools)),
    ...(await startFigure(tools)),
    ...(await frozenFigures(tools, options)),
    ...(await manyServers(tools, options)),
    ...(await stdioFigure(tools, options)),
  };
}

function httpServer(port: number): Record<string, unknown> {
  return { type: 'streamable-http', url: `http://127.0.0.1:${port}/mcp` };
}

/** The hub process itself, not the supervisor or the control process. */
function hubPid(hub: BenchHub): number {
  const pid = descendantsOf(hub.child.pid ?? -1).find((child) =>
    readFileSync(`/proc/${child}/environ`, 'utf8').includes('MCPHUB_PROCESS=hub'),
  );
  if (pid === undefined) throw new Error('no hub process found');
  return pid;
}

async function memoryFigures(tools: Tools): Promise<Record<string, number>> {
  const port = await freePort();
  const upstream = await startUpstream(tools, port);
  const hub = await startBenchHub(tools, { servers: { bench: httpServer(port) } });
  try {
    await untilToolsListed(hub, 54);
    await delay(1500);
    const pid = hubPid(hub);
    const idle = rssMb(pid);
    const streams = await openStreams(hub, 1000);
    await delay(1500);
    const open = rssMb(pid);
    for (const stream of streams) stream.destroy();
    return { G10a: idle, G10b: ((open - idle) * 1024) / 1000, G10c: open };
  } finally {
    await hub.stop();
    await stopChild(upstream);
  }
}

/** Sessions as an IDE holds them: initialize, then a GET stream that stays open. */
async function openStreams(hub: BenchHub, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at += 1) {
    const answer = await fetch(`http://127.0.0.1:${hub.port}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${hub.key}` },
      body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"${at}"}}}`,
    });
    await answer.arrayBuffer();
    const session = answer.headers.get('mcp-session-id') ?? '';
    const socket = connect(hub.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(
      `GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${hub.key}\r\nMcp-Session-Id: ${session}\r\n\r\n`,
    );
    socket.resume();
    sockets.push(socket);
  }
  return sockets;
}

/** A second start (catalog on disk) with a hung server in the configuration; from spawn to the first answered call. */
async function startFigure(tools: Tools): Promise<Record<string, number>> {
  const port = await freePort();
  const upstream = await startUpstream(tools, port);
  const hung = await silentServer();
  const servers = { bench: httpServer(port), hung: httpServer(hung.port) };
  try {
    const first = await startBenchHub(tools, { servers });
    await untilToolsListed(first, 54);
    await delay(1500);
    await first.stop();
    const born = performance.now();
    const second = await startBenchHub(tools, { servers, dataDir: first.dataDir, key: first.key });
    await until(() => callWorks(second), 10_000, 'a call after the start');
    const took = performance.now() - born;
    await second.stop();
    return { G11: took };
  } finally {
    hung.close();
    await stopChild(upstream);
  }
}

async function callWorks(hub: BenchHub, tool = 'bench_text200'): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${hub.port}/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${hub.key}` },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: {} } }),
    signal: AbortSignal.timeout(15_000),
  });
  return ((await answer.json()) as { result?: unknown }).result !== undefined;
}

interface Silent {
  readonly port: number;
  close(): void;
}

/** Accepts and never answers. */
async function silentServer(): Promise<Silent> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A server that was fine and then stands still (SIGSTOP), with 70 calls pending on it. */
async function frozenFigures(tools: Tools, options: ExtraOptions): Promise<Record<string, number>> {
  const [port, other] = [await freePort(), await freePort()];
  const [upstream, frozen] = [await startUpstream(tools, port), await startUpstream(tools, other, 4)];
  const hub = await startBenchHub(tools, {
    servers: { bench: httpServer(port), frozen: httpServer(other) },
    env: { MCPHUB_BREAKER_FAILURES: '1000' },
  });
  const call = {
    connections: 20,
    seconds: options.seconds,
    rate: 0,
    kind: 'call',
    tool: 'text200',
    textBytes: 200,
  } as const;
  const list = {
    connections: 1,
    seconds: options.seconds,
    rate: 0,
    kind: 'list',
    tool: 'text200',
    textBytes: 0,
  } as const;
  try {
    await untilToolsListed(hub, 58);
    await measure(tools, hub, call);
    const before = { call: await measure(tools, hub, call), list: await measure(tools, hub, list) };
    frozen.kill('SIGSTOP');
    const pending = new AbortController();
    const ends: number[] = [];
    const waiting = (async () => {
      while (!pending.signal.aborted) {
        await Promise.all(
          Array.from({ length: 70 }, async () => {
            const born = performance.now();
            await callWorks(hub, 'frozen_text200').catch(() => false);
            const took = performance.now() - born;
            if (took > 1000) ends.push(took);
            else await delay(200);
          }),
        );
      }
    })();
    await delay(300);
    const during = { call: await measure(tools, hub, call), list: await measure(tools, hub, list) };
    pending.abort();
    await waiting;
    const limitMs = 5000;
    const worst = Math.max(...ends.slice(0, 70));
    return {
      G12a: during.list.p50Us / before.list.p50Us,
      G12b: during.call.perSecond / before.call.perSecond,
      G12c: ends.length > 0 ? worst - limitMs : Number.NaN,
    };
  } finally {
    frozen.kill('SIGCONT');
    await hub.stop();
    await Promise.all([stopChild(upstream), stopChild(frozen)]);
  }
}

/** CPU of a call with one server of 10 tools against 50 servers with 20 tools each; and of a list of 1,000 tools. */
async function manyServers(tools: Tools, options: ExtraOptions): Promise<Record<string, number>> {
  const [few, many] = [await freePort(), await freePort()];
  const upstreams = [await startUpstream(tools, few, 10), await startUpstream(tools, many, 20)];
  const call = {
    connections: 20,
    seconds: options.seconds * 1.5,
    rate: 0,
    kind: 'call',
    tool: 'text200',
    textBytes: 200,
  } as const;
  const cpu: Record<string, number> = {};
  let listMs = Number.NaN;
  try {
    for (const [name, count] of [
      ['few', 1],
      ['many', 50],
    ] as const) {
      const servers = Object.fromEntries(
        Array.from({ length: count }, (_, at) => [
          at === 0 ? 'bench' : `bench${at}`,
          httpServer(name === 'few' ? few : many),
        ]),
      );
      const hub = await startBenchHub(tools, { servers });
      try {
        await untilToolsListed(hub, name === 'few' ? 10 : 1000);
        await delay(1000);
        await measure(tools, hub, call);
        cpu[name] = (await measure(tools, hub, call)).cpuUs;
        if (name === 'many')
          listMs =
            (
              await measure(tools, hub, {
                connections: 4,
                seconds: options.seconds,
                rate: 0,
                kind: 'list',
                tool: 'text200',
                textBytes: 0,
              })
            ).cpuUs / 1000;
      } finally {
        await hub.stop();
      }
    }
  } finally {
    await Promise.all(upstreams.map((upstream) => stopChild(upstream)));
  }
  return { G7b: listMs, G13: (cpu.many ?? Number.NaN) / (cpu.few ?? Number.NaN) };
}

async function stdioFigure(tools: Tools, options: ExtraOptions): Promise<Record<string, number>> {
  const hub = await startBenchHub(tools, { servers: { bench: { command: tools.upstream, args: ['stdio', '54'] } } });
  const call = {
    connections: 70,
    seconds: options.seconds,
    rate: 0,
    kind: 'call',
    tool: 'text200',
    textBytes: 200,
  } as const;
  try {
    await untilToolsListed(hub, 54);
    await measure(tools, hub, call);
    const figure = await measure(tools, hub, call);
    if (figure.errors > 0) console.log(`stdio: ${figure.errors} errors: ${figure.firstError}`);
    return { G14: figure.perSecond / options.nginxPerSecond };
  } finally {
    await hub.stop();
  }
}

/**
 * What the soak does to what surrounds a hub; each begins now and is ended by the function it gives.
 * Promises: a fault that was ended leaves its server, process or reader as it was before.
 */
import { connect } from 'node:net';
import type { FaultHttp } from '../support/fault-http.ts';
import type { FaultHttpFlags } from '../support/fault-http-flags.ts';
import { delay, type RunningHub, tryKill } from '../support/hub.ts';
import { Client } from '../support/load.ts';

export interface Surroundings {
  readonly hub: RunningHub;
  readonly web: FaultHttp;
  readonly random: () => number;
}

type Begin = (around: Surroundings) => Promise<() => Promise<void>>;

/** Flags of the HTTP server for the time being. */
function misbehaving(flags: FaultHttpFlags): Begin {
  return async ({ web }) => {
    Object.assign(web.flags, flags);
    return async () => {
      for (const name of Object.keys(flags) as (keyof FaultHttpFlags)[]) delete web.flags[name];
    };
  };
}

const FAULTS = {
  'web silent': misbehaving({ silent: true }),
  'web drips': misbehaving({ trickleMs: 300 }),
  'web garbage': misbehaving({ garbage: true }),
  'web error pages': misbehaving({ badGatewayBytes: 5_000_000 }),
  'web cuts': misbehaving({ cuts: true }),
  'web forgets': misbehaving({ forgetAfter: 20 }),
  'web lists storm': misbehaving({ storm: 200 }),
  'child stopped': async ({ hub }) => {
    const pid = await victim(hub);
    if (pid !== undefined) tryKill(pid, 'SIGSTOP');
    return async () => {
      if (pid !== undefined) tryKill(pid, 'SIGCONT');
    };
  },
  'child killed': async ({ hub }) => {
    const pid = await victim(hub);
    if (pid !== undefined) tryKill(pid);
    return async () => {};
  },
  'control stopped': async ({ hub }) => {
    const [pid = 0] = hub.processes().control ?? [];
    tryKill(pid, 'SIGSTOP');
    return async () => tryKill(pid, 'SIGCONT');
  },
  'control killed': async ({ hub }) => {
    for (const pid of hub.processes().control ?? []) tryKill(pid);
    return async () => {};
  },
  'log unread': async ({ hub }) => {
    hub.child.stdout?.pause();
    return async () => void hub.child.stdout?.resume();
  },
  'clients abandon': async ({ hub }) => {
    const gone = Array.from({ length: 100 }, () => new Client(hub));
    await Promise.all(gone.map((client) => client.open().catch(() => {})));
    for (const client of gone) void client.call('victim_sleep', { ms: 2000 });
    await delay(100);
    for (const client of gone) client.close();
    return async () => {};
  },
  'readers do not read': async ({ hub }) => {
    const head = `POST /mcp HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${hub.key}\r\ncontent-type: application/json\r\n`;
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: BIG });
    const sockets = Array.from({ length: 20 }, () => connect(hub.port, '127.0.0.1'));
    for (const socket of sockets) {
      socket.on('error', () => {});
      socket.pause();
      socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    }
    return async () => {
      for (const socket of sockets) socket.destroy();
    };
  },
  'configuration touched': async ({ hub }) => {
    tryKill(hub.pid, 'SIGHUP');
    return async () => tryKill(hub.pid, 'SIGHUP');
  },
} satisfies Record<string, Begin>;

const BIG = { name: 'victim_big', arguments: { bytes: 4_000_000 } };

export type FaultName = keyof typeof FAULTS;

export const FAULT_NAMES = Object.keys(FAULTS) as readonly FaultName[];

export function beginFault(name: FaultName, around: Surroundings): Promise<() => Promise<void>> {
  return FAULTS[name](around);
}

/** The process of the server `victim`, if it is there. */
async function victim(hub: RunningHub): Promise<number | undefined> {
  const client = new Client(hub);
  const answer = await client.call('victim_pid');
  client.close();
  const pid = Number(/"text":"(\d+)"/.exec(answer.text)?.[1]);
  return pid > 1 ? pid : undefined;
}

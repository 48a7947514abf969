/**
 * Sessions of one key that call a tool in a closed loop while a test does something else to the hub.
 * Guarantees: every call has an end; `stop` waits for the last one and leaves no socket.
 */
import { delay } from './hub.ts';
import { Client, isResult } from './load.ts';

/** Between an answer and the next call of a session, so that the load leaves the test a part of the machine. */
const PAUSE_MS = 10;

export interface LoadOutcome {
  readonly calls: number;
  /** Status and text of calls without a result, 20 at most. */
  readonly failed: readonly string[];
  readonly maxMs: number;
}

export interface SteadyLoad {
  stop(): Promise<LoadOutcome>;
}

/** Opens `sessions` sessions, and calls `tool` in each until it is stopped. */
export async function startLoad(
  hub: { readonly port: number; readonly key: string },
  { sessions, tool, args }: { readonly sessions: number; readonly tool: string; readonly args: object },
): Promise<SteadyLoad> {
  const clients = Array.from({ length: sessions }, () => new Client(hub));
  for (const client of clients) await client.open();
  const failed: string[] = [];
  let [calls, maxMs, isStopping] = [0, 0, false];
  const loops = clients.map(async (client) => {
    while (!isStopping) {
      const answer = await client.call(tool, args);
      calls += 1;
      maxMs = Math.max(maxMs, answer.ms);
      if (!isResult(answer) && failed.length < 20)
        failed.push(`${answer.status} ${answer.fault ?? answer.text.slice(0, 200)}`);
      await delay(PAUSE_MS);
    }
  });
  return {
    async stop() {
      isStopping = true;
      await Promise.all(loops);
      for (const client of clients) client.close();
      return { calls, failed, maxMs };
    },
  };
}

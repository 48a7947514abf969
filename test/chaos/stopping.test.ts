/**
 * The end of a hub in eight awkward states, by SIGTERM and by a kill: it always ends in time, and nothing is left.
 * Does not: look at what callers are told meanwhile (`journey/stop.test.ts`).
 */
// runs: about 70 s
// covers: P9
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { delay, isAlive, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { Client, isResult, slowness, stdioServer } from '../support/load.ts';
import { LogPipe } from '../support/log-pipe.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';

const STOP_MS = 30_000;
const GONE_MS = 5000;
const KILLED_MS = 10_000;
/** Of this many rounds one ends by a kill of the supervisor. */
const KILL_EVERY = 4;

interface State {
  readonly name: string;
  /** Behaviour of the child beside the normal one. */
  readonly child: string;
  /** What is done to the hub before it is ended. */
  readonly disturb: (hub: RunningHub, client: Client) => Promise<void>;
}

const nothing = async (): Promise<void> => {};

const STATES: readonly State[] = [
  {
    name: 'streams are open',
    child: 'normal',
    disturb: async (_, client) => {
      await client.open();
      for (let at = 0; at < 5; at += 1) assert.equal(await client.listen(), 200);
    },
  },
  {
    name: 'a call runs for ten minutes',
    child: 'normal',
    disturb: async (_, client) => {
      void client.call('one_sleep', { ms: 600_000 }, 60_000);
      await delay(300);
    },
  },
  { name: 'a child ignores SIGTERM', child: 'ignores-sigterm', disturb: nothing },
  { name: 'a child has forked twice', child: 'setsid', disturb: nothing },
  { name: 'a child has a deaf child', child: 'family', disturb: nothing },
  {
    name: 'a child stands still',
    child: 'normal',
    disturb: async (_, client) => {
      const { text } = await client.call('other_pid');
      tryKill(Number(JSON.parse(text).result.content[0].text), 'SIGSTOP');
    },
  },
  {
    name: 'nobody reads the log',
    child: 'normal',
    disturb: async (_, client) => {
      for (let at = 0; at < 500; at += 1) await client.call('one_echo', { text: 'x' });
    },
  },
  {
    name: 'the loop stands still',
    child: 'normal',
    disturb: async (hub) => {
      // The witness, who ends a hub that has stalled without a supervisor, is awake a second after its start.
      await delay(1200);
      for (const pid of hub.processes().hub ?? []) tryKill(pid, 'SIGUSR2');
      await delay(200);
    },
  },
];

const ENV = { NODE_ENV: 'test', MCPHUB_FAULT_HOOKS: '1', MCPHUB_LOG_LEVEL: 'debug' };
/** In CI a running call is waited for a shorter time. */
const QUICK = IS_LONG ? {} : { MCPHUB_DRAIN_MS: '3000' };

async function endOf(state: State, round: number): Promise<{ ms: number; leftMs: number; isKill: boolean }> {
  using log = new LogPipe();
  const config = { mcpServers: { one: stdioServer(), other: stdioServer(state.child) } };
  await using hub = await startHub({ config, env: { ...ENV, ...QUICK }, stdout: log.fd });
  const client = new Client(hub, 10);
  for (const name of ['one_echo', 'other_echo'])
    await until(async () => isResult(await client.call(name, { text: 'up' })), 60_000, name);
  await state.disturb(hub, client);
  const family = hub.descendants();
  const isKill = round % KILL_EVERY === KILL_EVERY - 1;
  const bornMs = performance.now();
  await hub.stop(isKill ? 'SIGKILL' : 'SIGTERM');
  const ms = performance.now() - bornMs;
  const leftMs = await until(
    () => !family.some(isAlive) && hub.descendants().length === 0,
    20_000,
    'that all are gone',
  );
  client.close();
  return { ms, leftMs, isKill };
}

describe('a hub ends, and nothing of it is left', { timeout: 3_600_000 }, () => {
  for (const state of STATES)
    test(`while ${state.name}`, async () => {
      const slow = await slowness();
      const rounds = scaled({ ci: 1, long: 20 });
      let [most, left, leftKilled] = [0, 0, 0];
      for (let round = 0; round < rounds; round += 1) {
        const { ms, leftMs, isKill } = await endOf(state, round);
        if (isKill) leftKilled = Math.max(leftKilled, leftMs);
        else [most, left] = [Math.max(most, ms), Math.max(left, leftMs)];
      }
      const what = `while ${state.name}`;
      const gate = (ms: number) => ({ unit: 'ms', strict: ms, ci: ms * slow });
      measured({ promise: 'P9', what: `SIGTERM, ended after, ${what}`, value: most, ...gate(STOP_MS) });
      measured({ promise: 'P9', what: `SIGTERM, all gone after its end, ${what}`, value: left, ...gate(GONE_MS) });
      if (rounds >= KILL_EVERY)
        measured({ promise: 'P9', what: `SIGKILL, all gone after, ${what}`, value: leftKilled, ...gate(KILLED_MS) });
    });
});

/**
 * Input that is made to hurt, from clients and from servers, at a hundred a second: the loop of the hub never stands
 * still for long, and others are served as before.
 */
// runs: alone
// covers: P11
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { delay, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub, Client, isResult, median, stdioServer } from '../support/load.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

/** What children say that is made to hurt. */
const EVIL_SERVERS = {
  target: stdioServer(),
  garbage: stdioServer('garbage', '2000000'),
  chatty: stdioServer('notifications', '20000'),
  wide: stdioServer('bigline', '8000000'),
  double: stdioServer('dup-response'),
  foreign: stdioServer('wrong-id'),
  noisy: stdioServer('stderr-flood', '200000'),
};
const EVIL_TOOLS = Object.keys(EVIL_SERVERS).map((name) => `${name}_echo`);

interface Attack extends AsyncDisposable {
  /** Ends it; what it was answered, by status. */
  stop(): Promise<Record<string, number>>;
}

interface AttackWish {
  readonly size: 'small' | 'large';
  readonly perSecond: number;
  /** Called once a second. */
  readonly tools: readonly string[];
  readonly forMs: number;
}

async function attack(hub: RunningHub, { size, perSecond, tools }: Omit<AttackWish, 'forMs'>): Promise<Attack> {
  const words = [String(hub.port), hub.key, size, String(perSecond), ...tools];
  const program = join(ROOT, 'test/support/attacker.ts');
  const child: ChildProcess = spawn(process.execPath, [program, ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  await until(() => said.includes('attacking'), 20_000, 'the attacker');
  const end = async (): Promise<void> => {
    child.stdin?.end();
    if (child.exitCode === null) await once(child, 'exit');
  };
  return {
    async stop() {
      await end();
      return JSON.parse(said.slice(said.indexOf('{')));
    },
    [Symbol.asyncDispose]: end,
  };
}

/** Calls one after the other for so long: their times, and the longest that the hub's loop stood still, ms. */
async function victims(hub: RunningHub, forMs: number): Promise<{ times: number[]; stallMs: number }> {
  const client = new Client(hub);
  const times: number[] = [];
  let stallMs = 0;
  let lookAtMs = 0;
  for (const bornMs = performance.now(); performance.now() - bornMs < forMs; ) {
    const answer = await client.call('one_echo', { text: 'honest' });
    assert.ok(isResult(answer), answer.text);
    times.push(answer.ms);
    if (performance.now() > lookAtMs) {
      lookAtMs = performance.now() + 1000;
      stallMs = Math.max(stallMs, (await askHub(hub, '/api/health')).process.loopMaxMs);
    }
    await delay(5);
  }
  stallMs = Math.max(stallMs, (await askHub(hub, '/api/health')).process.loopMaxMs);
  client.close();
  return { times: times.sort((a, b) => a - b), stallMs };
}

function p99(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}

/** One for each server that answers in kind, and again in the long tier. */
const ROUNDS = EVIL_TOOLS.length * scaled({ ci: 1, long: 2 });
const LARGE_ROUNDS = scaled({ ci: 1, long: 10 });
const ROUND_MS = scaled({ ci: 700, long: 6000 });
/** Of bodies that take half a second to be sent. */
const LARGE_MS = scaled({ ci: 3000, long: 6000 });

// row C19, B9, B10, B12 · guards src/protocol/scan.ts, src/upstream/transport/stdio/frames.ts, src/downstream/large-bodies.ts
test('a hundred hurtful requests a second, and servers that answer in kind: the loop turns, and others are served', {
  timeout: 400_000,
}, async () => {
  await using hub = await startHub({ config: { mcpServers: { one: stdioServer(), ...EVIL_SERVERS } } });
  const client = new Client(hub);
  for (const name of ['one', ...Object.keys(EVIL_SERVERS)])
    await until(async () => isResult(await client.call(`${name}_echo`, { text: 'up' })), 60_000, name);
  client.close();
  // The start's own stalls are not the attack's.
  await delay(6000);
  const [quiet, loud] = [[] as number[], [] as number[]];
  const underAttack = async (wish: AttackWish) => {
    await using attacker = await attack(hub, wish);
    const seen = await victims(hub, wish.forMs);
    const answered = await attacker.stop();
    const count = Object.values(answered).reduce((sum, one) => sum + one, 0);
    assert.ok(count > ((wish.forMs / 1000) * wish.perSecond) / 4, JSON.stringify(answered));
    assert.equal(answered['500'], undefined, JSON.stringify(answered));
    return seen;
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    quiet.push(...(await victims(hub, ROUND_MS)).times);
    const tools = [EVIL_TOOLS[round % EVIL_TOOLS.length] ?? ''];
    loud.push(...(await underAttack({ size: 'small', perSecond: 100, tools, forMs: ROUND_MS })).times);
  }
  const gate = { promise: 'P11', unit: 'ms' };
  // In CI the median: the slowest of a hundred calls is the machine's.
  const of = IS_LONG ? p99 : median;
  measured({
    ...gate,
    what: `${IS_LONG ? 'p99' : 'median'} of others under a hundred hurtful requests a second, above without`,
    value: of(loud) - of(quiet),
    // A fifth of what a call takes on a free machine is less than the noise of one that attackers and victims share.
    strict: Math.max(0.2 * p99(quiet), 3),
    ci: of(quiet) + 20,
  });
  let stallMs = 0;
  const wish = { size: 'large', perSecond: 2, tools: EVIL_TOOLS, forMs: LARGE_MS } as const;
  for (let round = 0; round < LARGE_ROUNDS; round += 1) stallMs = Math.max(stallMs, (await underAttack(wish)).stallMs);
  measured({
    ...gate,
    what: 'longest stall of the loop by bodies of 4 MB and all evil servers at once',
    value: stallMs,
    strict: 100,
    ci: 220,
  });
  await isUnharmed(hub, 'one_echo');
});

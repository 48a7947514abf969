/**
 * Ten servers, two of them dead in the worst ways: one accepts connections and never answers, one is a child that never
 * reads.
 */
// runs: in pairs, about 20 s
// covers: A4, B3, P1, P2
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { delay, type RunningHub, startHub, until } from '../support/hub.ts';
import { type Answer, Client, isResult, median, slowness, stdioServer } from '../support/load.ts';

const ROUNDS = 3;
const SAMPLES = 80;
/** The gate of CI: twice the median without the dead ones, and 20 ms. */
const FACTOR = 2;
const PLUS_MS = 20;
/** Five seconds of silence, and what the rest takes. */
const DEAD_MS = 5000 * 1.2 + 500;

function living(http: FaultHttp): Record<string, object> {
  const servers: Record<string, object> = { local: stdioServer() };
  for (let at = 1; at <= 7; at += 1) servers[`remote${at}`] = { type: 'streamable-http', url: http.url };
  return servers;
}

/** Waits until each of the eight has been listed. */
async function whole(hub: RunningHub): Promise<void> {
  const client = new Client(hub);
  await until(
    async () => {
      const { text } = await client.list();
      return ['local_', ...Array.from({ length: 7 }, (_, at) => `remote${at + 1}_`)].every((name) =>
        text.includes(`"${name}`),
      );
    },
    60_000,
    'the lists of the eight',
  );
  client.close();
}

async function sample(hub: RunningHub, what: (client: Client, at: number) => Promise<Answer>): Promise<number[]> {
  const client = new Client(hub);
  const times: number[] = [];
  for (let at = 0; at < SAMPLES; at += 1) {
    const answer = await what(client, at);
    assert.ok(isResult(answer), `${answer.status} ${answer.fault} ${answer.text.slice(0, 300)}`);
    times.push(answer.ms);
  }
  client.close();
  return times;
}

/** ABAB: both hubs take turns, so that the machine's moods hit both. */
async function compare(
  one: RunningHub,
  other: RunningHub,
  what: (client: Client, at: number) => Promise<Answer>,
): Promise<void> {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    times[0].push(...(await sample(one, what)));
    times[1].push(...(await sample(other, what)));
  }
  const [withDead, without] = times.map(median) as [number, number];
  assert.ok(
    withDead <= without * FACTOR + PLUS_MS,
    `p50 ${withDead.toFixed(1)} ms, without the dead ${without.toFixed(1)} ms`,
  );
}

function assertNames(answer: Answer, server: string): void {
  const error = (JSON.parse(answer.text) as { error?: { message: string; data?: Record<string, unknown> } }).error;
  assert.ok(error, answer.text);
  assert.equal(error.data?.server, server, answer.text);
  assert.equal(typeof error.data?.phase, 'string', answer.text);
  assert.equal(typeof error.data?.waitedMs, 'number', answer.text);
  assert.equal(typeof error.data?.setting, 'string', answer.text);
}

test('two dead servers among ten: ready at once, the others do not notice, calls to the dead end at 5 s', {
  timeout: 240_000,
}, async () => {
  const http = await startFaultHttp();
  const silent = await startFaultHttp({ silent: true, faultMethods: ['*'] });
  try {
    const slow = await slowness();
    await using control = await startHub({ config: { mcpServers: living(http) } });
    await using hub = await startHub({
      config: {
        mcpServers: {
          silent: { type: 'streamable-http', url: silent.url },
          ...living(http),
          deaf: stdioServer('never-reads-stdin'),
        },
      },
    });
    assert.ok(
      hub.startedMs <= control.startedMs * 2 + 1000 * slow,
      `ready after ${hub.startedMs}, without the dead ${control.startedMs} ms`,
    );
    await whole(control);
    await whole(hub);

    // A first call to each dead one, while it is being connected for the first time or rests: it waits at most its five
    // seconds.
    for (const server of ['silent', 'deaf']) {
      const client = new Client(hub);
      const answer = await client.call(`${server}_echo`, { text: 'x' });
      assert.ok(answer.ms <= DEAD_MS * slow, `${server}: ${Math.round(answer.ms)} ms`);
      assertNames(answer, server);
      client.close();
    }

    let going = true;
    const dead = ['silent', 'deaf'].map(async (server) => {
      const client = new Client(hub);
      while (going) {
        const answer = await client.call(`${server}_echo`);
        assert.ok(answer.ms <= DEAD_MS * slow, `${server}: ${Math.round(answer.ms)} ms`);
        assertNames(answer, server);
        await delay(100);
      }
      client.close();
    });
    try {
      await compare(hub, control, (client) => client.list());
      await compare(hub, control, (client, at) =>
        client.call(at % 8 ? `remote${at % 8}_echo` : 'local_echo', { text: 'x' }),
      );
    } finally {
      going = false;
      await Promise.all(dead);
    }
    assert.equal(await hub.stop(), 0);
    assert.deepEqual(hub.descendants(), []);
    assert.equal(await control.stop(), 0);
  } finally {
    await Promise.all([http.close(), silent.close()]);
  }
});

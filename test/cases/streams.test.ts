/**
 * Streams as real clients hold them: two at once in one session, and read by parsers that count each blank line.
 */
// case: CL36, CL38
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';
import { callText, type Reading, SseClient } from '../support/sse-client.ts';

/** Each update says when it was sent. */
const SENT = /"sentMs":\s*([\d.]+)/g;

const SUBSCRIBE = '{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"fault://clock"}}';

describe('streams of one session', { timeout: 60_000, concurrency: 4 }, () => {
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({
      config: {
        mcpServers: { fault: faultServer('updates') },
        limits: { streamKeepAliveMs: '1s' },
      },
    });
    const isListed = async () =>
      (await rpc(`${hub.url}/mcp`, 'resources/list', {}, hub)).text.includes('fault://clock');
    await until(isListed, 20_000, 'the resource');
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
  });

  /** Opens a stream again whenever it ends, as a client does; returns how often it did. */
  function loop(open: () => Reading) {
    const readings: Reading[] = []; // bounded by: the test
    let stopped = false;
    const done = (async () => {
      while (!stopped) {
        const reading = open();
        readings.push(reading);
        await until(() => reading.over || stopped, 20_000, 'the end of a stream');
        if (!stopped) await new Promise((resolve) => setTimeout(resolve, 100));
      }
    })();
    return {
      readings,
      text: () => readings.map(({ received }) => received).join(''),
      async stop(): Promise<void> {
        stopped = true;
        await done;
      },
    };
  }

  for (const version of ['2025-06-18', '2025-11-25'])
    test(`two GET loops of ${version} stay open, and each message goes to one of them`, async () => {
      const client = await new SseClient({ port: hub.port, key: hub.key }).open(version);
      const loops = [loop(() => client.get()), loop(() => client.get())];
      await until(() => loops.every(({ readings }) => readings.at(-1)?.status === 200), 5000, 'both streams');
      // Long enough for either to close the other a few times.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.deepEqual(
        loops.map(({ readings }) => readings.length),
        [1, 1],
      );
      await client.post(SUBSCRIBE).end();
      const heard = () => loops.flatMap((one) => [...one.text().matchAll(SENT)].map(([, sent]) => sent));
      await until(() => heard().length >= 10, 10_000, 'ten updates');
      assert.equal(new Set(heard()).size, heard().length, 'none was received twice');
      assert.deepEqual(
        loops.map(({ readings }) => readings.length),
        [1, 1],
      );
      await Promise.all(loops.map((one) => one.stop()));
      client.close();
    });

  test('two clients that resume one running call both end with its answer, without closing each other', async () => {
    const client = await new SseClient({ port: hub.port, key: hub.key, sockets: 2 }).open();
    const call = client.postAlone(callText('fault_sleep', '{"ms":4000}', { id: '"slow"' }));
    await until(() => call.events.length > 0, 5000, 'the priming event');
    const id = call.events[0]?.id;
    call.drop();
    const loops = [loop(() => client.get(id)), loop(() => client.get(id))];
    await until(() => loops.every((one) => one.text().includes('"slow"')), 15_000, 'the answer on both');
    for (const one of loops) assert.ok(one.readings.length <= 2, `${one.readings.length} streams`);
    await Promise.all(loops.map((one) => one.stop()));
    client.close();
  });

  test('no stream contains a blank line that ends no event', async () => {
    const client = await new SseClient({ port: hub.port, key: hub.key }).open('2025-06-18');
    const quiet = client.get();
    const call = client.postAlone(callText('fault_sleep', '{"ms":2500}', { id: '8', token: '1' }));
    await call.end();
    await until(() => (quiet.body.match(/:\n/g)?.length ?? 0) >= 3, 10_000, 'three comments');
    for (const { body } of [quiet, call]) {
      assert.ok(body.length > 0);
      for (const block of body.split('\n\n').slice(0, -1)) assert.match(block, /^data:/m, JSON.stringify(body));
    }
    const progress = client.postAlone(
      callText('fault_report', '{"steps":2,"ms":50,"text":"x"}', { id: '9', token: '2' }),
    );
    await progress.end();
    assert.match(progress.body, /^event: message\n/, 'begins with its first event');
    client.close();
  });
});

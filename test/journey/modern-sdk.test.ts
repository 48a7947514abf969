/**
 * The official SDK's servers of 2026-07-28, over HTTP and stdio, strict and serving both eras, behind a whole hub; its
 * clients of both versions in front. What such a server objects to, it says (`complaints`), or its answer shows it.
 */
// covers: B16, B18, B21, B25
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { slowness } from '../support/load.ts';
import { type ModernSdk, startModernSdk } from '../support/modern-sdk.ts';
import { openStateless, stateless } from '../support/stateless.ts';
import { ASKED, connectV1, connectV2, type Loose } from '../support/users.ts';

const PROGRAM = join(ROOT, 'test/support/modern-sdk.ts');
const SERVERS = ['strict', 'both', 'child', 'childboth'] as const;
const ASKING = ['strictasks', 'childasks'] as const;
const URI = 'note://one';

describe('servers of the official SDK of 2026-07-28', { timeout: 170_000 }, () => {
  let hub: RunningHub;
  let strict: ModernSdk;
  let both: ModernSdk;
  let url = '';

  before(async () => {
    [strict, both] = [await startModernSdk('reject'), await startModernSdk('stateless')];
    const child = (legacy: string) => ({ command: process.execPath, args: [PROGRAM, legacy] });
    const config = {
      mcpServers: {
        strict: { url: strict.url },
        both: { url: both.url },
        child: child('reject'),
        childboth: child('serve'),
        strictasks: { url: strict.url, interactive: true },
        childasks: { ...child('reject'), interactive: true },
      },
    };
    hub = await startHub({ config });
    url = `${hub.url}/mcp`;
    for (const name of [...SERVERS, ...ASKING])
      await until(
        async () => /"x"/.test((await fresh('tools/call', { name: `${name}_echo`, arguments: { text: 'x' } })).text),
        30_000,
        name,
      );
  });
  after(async () => {
    await hub[Symbol.asyncDispose]();
    await Promise.all([strict, both].map((server) => server[Symbol.asyncDispose]()));
  });

  const fresh = (method: string, params: Loose, headers: Record<string, string> = {}) =>
    stateless(url, method, params, { key: hub.key, headers });

  test('clients of either SDK list, call, read and hear progress', async () => {
    for (const connect of [connectV1, connectV2]) {
      await using user = await connect({ url, key: hub.key });
      const names: string[] = (await user.can.listTools()).tools.map(({ name }: { readonly name: string }) => name);
      for (const server of SERVERS) {
        assert.ok(names.includes(`${server}_place`), server);
        const steps: number[] = [];
        const args = { text: 'größe', steps: 3 };
        const said = await user.can.call(`${server}_report`, args, {
          onprogress: ({ progress, message }) => steps.push(message === 'größe' ? progress : -1),
        });
        assert.equal(said.content[0].text, 'größe');
        assert.deepEqual(steps, [1, 2, 3], server);
        assert.equal((await user.can.call(`${server}_place`, { region: 'süd ' })).content[0].text, 'süd ');
      }
      for (const server of SERVERS) {
        await using own = await connect({ url: `${url}/${server}`, key: hub.key });
        assert.equal((await own.can.readResource({ uri: URI })).contents[0].text, 'one', server);
      }
    }
  });

  test('what they ask reaches users of every client, over two rounds', async () => {
    for (const server of ASKING) {
      for (const { connect, answer, said } of ASKED) {
        await using user = await connect({ url, key: hub.key });
        answer(user.mind);
        // Each user has a process of the server, which takes its time to start.
        const serves = () => user.can.call(`${server}_echo`, { text: 'x' }).then(Boolean, () => false);
        await until(serves, 30_000, `${server} serves this user`);
        assert.equal((await user.can.call(`${server}_ask`)).content[0].text, said, server);
      }
    }
  });

  test('changed lists and updated resources are told to users of both eras', async () => {
    // In the older era these servers tell nothing: over HTTP they have no stream.
    for (const server of ['strict', 'child'] as const) {
      const path = `/mcp/${server}`;
      await using user = await connectV1({ url: `${hub.url}${path}`, key: hub.key });
      await user.can.subscribeResource({ uri: URI });
      const wanted = { toolsListChanged: true, resourceSubscriptions: [URI] };
      const listening = openStateless(hub, 'subscriptions/listen', { notifications: wanted }, path);
      await listening.hasMessages(1);
      const heard = (method: string) => listening.messages.filter((text) => text.includes(method)).length;
      const slow = await slowness();
      await until(
        async () => {
          await user.can.call(`${server}_touch`, { uri: URI });
          return user.mind.updates.includes(URI) && heard('resources/updated') > 0;
        },
        5000 * slow,
        `${server}: the update`,
      );
      const before = user.mind.changes.length;
      await user.can.call(`${server}_grow`);
      await until(
        () => user.mind.changes.length > before && heard('tools/list_changed') > 0,
        2020 * slow,
        `${server}: the list`,
      );
      assert.match(JSON.stringify(await user.can.listTools()), new RegExp(`"${server}_grown_0"`));
      listening.drop();
    }
  });

  test('a call that is called off is called off at the server, whoever made it', async () => {
    const stop = new AbortController();
    await using user = await connectV2({ url, key: hub.key });
    const called = user.can.call('strict_wait', {}, { signal: stop.signal }).catch(() => 'called off');
    await until(() => strict.waiting() === 1, 5000, 'the first call');
    const gone = openStateless(hub, 'tools/call', { name: 'strict_wait', arguments: {} });
    await until(() => strict.waiting() === 2, 5000, 'the second call');
    stop.abort();
    gone.drop();
    assert.equal(await called, 'called off');
    const slow = await slowness();
    await until(() => strict.waiting() === 0, 2020 * slow, 'nobody waits');
    assert.equal(strict.calledOff(), 2);
  });

  test('the servers have nothing to complain of but the first question of each connection', () => {
    const rest = strict.complaints.filter((text) => !/initialize|protocol version/i.test(text));
    assert.deepEqual([rest, both.complaints], [[], []]);
  });
});

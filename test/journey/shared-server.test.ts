/**
 * Several users of one server at once, over stdio and over Streamable HTTP: what belongs to one of them reaches only
 * him, what is for all reaches exactly those who may see it, once.
 */
// covers: E2, B14, B18, B20, B21, B23, B25
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { HttpServer } from '../support/everything.ts';
import { isAlive, type RunningHub, tryKill, until } from '../support/hub.ts';
import { Journal, makeKey, startReadyHub } from '../support/journal.ts';
import { rpc } from '../support/mcp.ts';
import { connectV1, connectV2, textOf, type User } from '../support/users.ts';

/** Far more than it takes, on a machine that does other things beside. */
const SOON_MS = 15_000;
/** Accepted: within 1 s; twice that and 20 ms on a loaded machine. */
const GATE_MS = 2020;
const KINDS = ['child', 'remote'] as const;

const journal = new Journal();
const programs: HttpServer[] = [];
let hub: RunningHub;
let ann: { key: string };
let bob: { key: string };
const open: User[] = [];

before(async () => {
  programs.push(await journal.startHttp(), await journal.startHttp());
  const remote = (at: number) => ({ type: 'streamable-http', url: programs[at]?.url });
  const mcpServers = {
    child: journal.stdio(),
    remote: remote(0),
    lane_child: journal.stdio({ interactive: true }),
    lane_remote: { ...remote(1), interactive: true },
    lonely: journal.stdio(),
  };
  const groups = { others: { servers: ['lonely'] }, both: { servers: ['child', 'remote'] } };
  // A child of a session takes seconds to start where other tests run beside.
  hub = await startReadyHub({ mcpServers, groups, limits: { handshakeMs: SOON_MS } });
  ann = { key: await makeKey(hub, 'ann') };
  bob = { key: await makeKey(hub, 'bob') };
});
after(async () => {
  for (const user of open) await user[Symbol.asyncDispose]();
  await hub?.[Symbol.asyncDispose]();
  for (const program of programs) await program[Symbol.asyncDispose]();
  journal[Symbol.dispose]();
});

async function join(who: { key: string }, path = '', connect = connectV1): Promise<User> {
  const user = await connect({ url: `${hub.url}/mcp${path}`, key: who.key });
  open.push(user);
  return user;
}

/** A question without the name of its server, which the hub puts in front. */
const own = (message: string) => message.replace(/^\[mcphub server "[^"]+"\] /, '');

/** One piece of work; all that the user heard meanwhile. */
async function work(user: User, tool: string, name: string, ask: boolean) {
  const progress: string[] = [];
  const onprogress = ({ message }: { message?: string }) => void progress.push(message ?? '');
  const { mind } = user;
  mind.elicit = ({ message }) => ({ action: 'accept', content: { who: `${own(message)}, answered by ${name}` } });
  const result = JSON.parse(textOf(await user.can.call(tool, { name, ask, ms: 600 }, { onprogress })));
  return {
    result,
    progress,
    logs: mind.logs.map(({ data }) => data),
    asked: mind.elicitations.map((one) => own(one.message)),
  };
}

describe('two users at once', { timeout: 90_000 }, () => {
  for (const kind of KINDS)
    test(`[B14] ${kind}, which asks its users: each one’s questions, progress, logs and result reach only him`, async () => {
      const users = [await join(ann), await join(bob, '', connectV2)];
      const names = ['of ann', 'of bob'];
      const heard = await Promise.all(users.map((user, at) => work(user, `lane_${kind}_work`, names[at] ?? '', true)));
      for (const [at, { result, progress, logs, asked }] of heard.entries()) {
        const name = names[at];
        const answer = { action: 'accept', content: { who: `${name}, answered by ${name}` } };
        assert.deepEqual(result, { name, answer });
        assert.deepEqual(asked, [name]);
        assert.ok(progress.length >= 3 && logs.length >= 3, `${progress.length} steps, ${logs.length} lines`);
        assert.deepEqual([...new Set([...progress, ...logs])], [name]);
      }
    });

  for (const kind of KINDS)
    test(`[B14] ${kind}, which all share: progress and result reach only the caller, and no log line anybody else`, async () => {
      const users = [await join(ann), await join(ann), await join(bob, '', connectV2)];
      const names = ['first of ann', 'second of ann', 'of bob'];
      const heard = await Promise.all(users.map((user, at) => work(user, `${kind}_work`, names[at] ?? '', false)));
      for (const [at, { result, progress, logs }] of heard.entries()) {
        assert.deepEqual(result, { name: names[at] });
        assert.ok(progress.length >= 3);
        assert.deepEqual([...new Set(progress)], [names[at]]);
        // Over stdio nothing says whose a line is, so that nobody gets it.
        assert.deepEqual([...new Set(logs)], kind === 'child' ? [] : [names[at]]);
      }
    });

  test('[B25] equal ids and progress tokens of two users at once, each kind of value, do not meet', async () => {
    const url = `${hub.url}/mcp`;
    for (const id of [0, -1, 'same', '']) {
      const ask = async ({ key }: { key: string }, name: string) => {
        const params = { name: 'child_work', arguments: { name, ms: 120 }, _meta: { progressToken: id } };
        const accept = 'application/json, text/event-stream';
        const answer = await rpc(url, 'tools/call', params, { key, id, accept });
        const messages = answer.text.split('\n').filter((line) => line.startsWith('data: {'));
        return messages.map((line) => JSON.parse(line.slice(5)));
      };
      const all = await Promise.all([ask(ann, 'of ann'), ask(bob, 'of bob')]);
      for (const [at, messages] of all.entries()) {
        const name = ['of ann', 'of bob'][at];
        const steps = messages.slice(0, -1).map(({ params }) => params);
        assert.ok(steps.length >= 1);
        for (const { progressToken, message } of steps) assert.deepEqual([progressToken, message], [id, name]);
        assert.equal(messages.at(-1).id, id);
        assert.deepEqual(JSON.parse(textOf(messages.at(-1).result)), { name });
      }
    }
  });
});

describe('cancelling', { timeout: 60_000 }, () => {
  for (const kind of [...KINDS, 'lane_child', 'lane_remote'])
    test(`[B21] ${kind}: the work stops within 1 s, the server hears of it once, the other’s work goes on`, async () => {
      const [one, other] = [await join(ann), await join(bob)];
      const name = `called off at ${kind}`;
      const abort = new AbortController();
      const going = other.can.call(`${kind}_work`, { name: 'goes on', ms: 1500 });
      const options = { signal: abort.signal, onprogress: () => abort.abort('enough') };
      await assert.rejects(one.can.call(`${kind}_work`, { name, ms: 60_000 }, options));
      const tookMs = await until(() => journal.state(name) === 'called off', SOON_MS, 'the work has stopped');
      assert.ok(tookMs < GATE_MS, `${tookMs} ms`);
      assert.deepEqual(JSON.parse(textOf(await going)), { name: 'goes on' });
      const began = journal.of('tools/call').find(({ params }) => JSON.stringify(params).includes(name));
      const cancels = journal
        .of('notifications/cancelled')
        .filter(
          ({ pid, from, params }) => pid === began?.pid && from === began?.from && params?.requestId === began?.id,
        );
      assert.equal(cancels.length, 1);
    });
});

describe('what is for several', { timeout: 90_000 }, () => {
  for (const kind of KINDS)
    test(`[B18] ${kind}: a changed list is told once, within 1 s, to exactly the sessions that see it`, async () => {
      const seers = [await join(ann), await join(bob, '/both', connectV2), await join(ann, `/${kind}`)];
      const others = [await join(bob, '/others'), await join(ann, '/lonely', connectV2)];
      // The list has not been read for a while, as is usual.
      const [seer] = seers as [User];
      await settled(seer);
      for (const { mind } of [...seers, ...others]) mind.changes.length = 0;
      await seer.can.call(`${kind}_grow`, { name: `more_of_${kind}` });
      const tookMs = await until(() => seers.every(({ mind }) => mind.changes.length > 0), SOON_MS, 'all are told');
      assert.ok(tookMs < GATE_MS, `${tookMs} ms`);
      const { tools } = await seer.can.listTools();
      assert.ok(tools.some((tool: { name: string }) => tool.name === `${kind}_more_of_${kind}`));
      // A later change of another kind is heard after whatever this one may still have caused.
      await settled(seer);
      for (const { mind } of seers) assert.deepEqual(mind.changes, ['tools']);
      for (const { mind } of others) assert.deepEqual(mind.changes, []);
    });

  for (const kind of KINDS)
    test(`${kind}: an update of a resource reaches its subscribers, each by the name that he knows, and nobody else`, async () => {
      const [a, b, c] = [await join(ann, `/${kind}`), await join(bob, `/${kind}`), await join(ann, `/${kind}`)];
      const before = journal.of('resources/subscribe').length;
      await a.can.subscribeResource({ uri: 'note://one' });
      await b.can.subscribeResource({ uri: 'note://one' });
      await c.can.subscribeResource({ uri: 'note://two' });
      assert.equal(journal.of('resources/subscribe').length, before + 2, 'one subscription upstream for each resource');
      await b.can.call(`${kind}_touch`, { uri: 'note://one' });
      await until(() => a.mind.updates.length > 0 && b.mind.updates.length > 0, SOON_MS, 'both hear of it');
      await b.can.unsubscribeResource({ uri: 'note://one' });
      await a.can.call(`${kind}_touch`, { uri: 'note://one' });
      await until(() => a.mind.updates.length > 1, SOON_MS, 'who is left hears of it');
      await a.can.unsubscribeResource({ uri: 'note://one' });
      assert.equal(journal.of('resources/unsubscribe').length, 1 + KINDS.indexOf(kind), 'let go with the last one');
      await c.can.call(`${kind}_touch`, { uri: 'note://two' });
      await until(() => c.mind.updates.length > 0, SOON_MS, 'the other resource');
      assert.deepEqual(a.mind.updates, ['note://one', 'note://one']);
      assert.deepEqual(b.mind.updates, ['note://one']);
      assert.deepEqual(c.mind.updates, ['note://two']);
    });

  test('[B20] log lines pass the level of their session: unset hears info, error hears errors', async () => {
    const [unset, strict, loose] = [await join(ann), await join(bob), await join(ann)];
    await strict.can.setLoggingLevel('error');
    await loose.can.setLoggingLevel('debug');
    for (const user of [unset, strict, loose])
      for (const level of ['debug', 'info', 'error', 'emergency'])
        await user.can.call('lane_child_say', { level, text: `${level}!` });
    const levels = ({ mind }: User) => mind.logs.map(({ level }) => level);
    await until(() => [unset, strict, loose].every((user) => levels(user).includes('emergency')), SOON_MS, 'the lines');
    assert.deepEqual(levels(loose), ['debug', 'info', 'error', 'emergency']);
    assert.deepEqual(levels(strict), ['error', 'emergency']);
    assert.deepEqual(levels(unset), ['info', 'error', 'emergency']);
  });

  test('[B23] a server that crashed is started again, listed again and subscribed to again', async () => {
    const user = await join(ann, '/lonely');
    await user.can.subscribeResource({ uri: 'note://one' });
    const pid = Number(textOf(await user.can.call('lonely_pid')));
    const subscribed = () => journal.of('resources/subscribe').filter((entry) => entry.params?.uri === 'note://one');
    const before = subscribed().length;
    tryKill(pid);
    await until(() => subscribed().length > before, SOON_MS, 'subscribed again');
    const [again] = subscribed().slice(-1);
    assert.notEqual(again?.pid, pid);
    assert.ok(
      journal.of('tools/list').some((entry) => entry.pid === again?.pid),
      'listed again',
    );
    assert.equal(isAlive(pid), false);
    await until(async () => Number(textOf(await user.can.call('lonely_pid'))) === again?.pid, SOON_MS, 'the new one');
    user.mind.updates.length = 0;
    await user.can.call('lonely_touch', { uri: 'note://one' });
    await until(() => user.mind.updates.length > 0, SOON_MS, 'the update of the new one');
    assert.deepEqual(user.mind.updates, ['note://one']);
  });

  test('[B23] the crash of one session’s own server is nobody else’s, and its next call is subscribed again', async () => {
    const [user, other] = [await join(ann, '/lane_child'), await join(bob, '/lane_child')];
    await user.can.subscribeResource({ uri: 'note://one' });
    const pids = await Promise.all(
      [user, other].map(async ({ can }) => Number(textOf(await can.call('lane_child_pid')))),
    );
    assert.notEqual(pids[0], pids[1]);
    tryKill(pids[0] ?? -1);
    const now = async () => Number(textOf(await user.can.call('lane_child_pid').catch(() => text('0'))));
    await until(async () => ![0, pids[0]].includes(await now()), SOON_MS, 'the new one');
    await user.can.call('lane_child_touch', { uri: 'note://one' });
    await until(() => user.mind.updates.length > 0, SOON_MS, 'the update of the new one');
    assert.equal(Number(textOf(await other.can.call('lane_child_pid'))), pids[1]);
  });
});

function text(value: string) {
  return { content: [{ type: 'text', text: value }] };
}

/**
 * Lists are read again 2 s after the last time at the earliest: until then a second notice of the same change could
 * come.
 */
async function settled(user: User): Promise<void> {
  const quietSince = performance.now();
  await until(async () => {
    await user.can.ping();
    return performance.now() - quietSince > 2500;
  }, SOON_MS);
}

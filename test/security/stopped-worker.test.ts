/**
 * What clients see while one of two workers is stopped (SIGSTOP): until the supervisor replaces it, its sibling serves,
 * and a revocation ends what the sibling has passed to it.
 */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { frontSocketName } from '../../src/model/supervisor-messages.ts';
import { startEverythingHttp } from '../conformance/everything-http.ts';
import { environOf, type RunningHub, startHub, until } from '../support/hub.ts';
import { askHub, Client, isResult, slowness } from '../support/load.ts';
import { openSession } from '../support/mcp.ts';
import { NEW_KEYS_ENV, Reading } from '../support/sse-client.ts';

const SESSIONS = 16;
const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';
const CALL =
  '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"asking_test_simple_text","arguments":{}}}';
/** The supervisor ends a stopped process after 3 s without a heartbeat, and looks once a second. */
const REPLACED_MS = 6000;

/** One request on a connection of its own. `to` = the port, or worker 1 itself, past the supervisor. */
function ask(
  hub: RunningHub,
  to: 'port' | 'first',
  key: string,
  { session, body }: { session?: string; body?: string },
): Reading {
  const sent = request({
    ...(to === 'port'
      ? { host: '127.0.0.1', port: hub.port }
      : { socketPath: join(hub.dataDir, 'run', frontSocketName(1)) }),
    path: '/mcp',
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      host: '127.0.0.1',
      authorization: `Bearer ${key}`,
      accept: 'application/json, text/event-stream',
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    agent: false,
  });
  const reading = new Reading(sent);
  sent.end(body);
  return reading;
}

async function passedOn(hub: RunningHub): Promise<number> {
  const { ceilings } = await askHub(hub, '/api/ceilings', 1);
  return ceilings.find(({ name }: { name: string }) => name === 'downstream.siblings').size;
}

function workerPid(hub: RunningHub, slot: string): number {
  return (hub.processes().hub ?? []).find((pid) => environOf(pid).MCPHUB_SLOT === slot) ?? 0;
}

async function owner(hub: RunningHub, method: string, path: string, body?: object) {
  const answer = await fetch(`${hub.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the test
  return (await answer.json()) as any;
}

// finding: SR-A13
test('while one of two workers is stopped, revocations end what was passed to it, and every request has an end', {
  timeout: 90_000,
}, async (t) => {
  const asking = await startEverythingHttp();
  await using _asking = { [Symbol.asyncDispose]: () => asking.close() };
  await using hub = await startHub({
    config: { mcpServers: { asking: { url: asking.url, interactive: true } } },
    args: ['--workers', '2'],
    env: { ...NEW_KEYS_ENV, MCPHUB_CONFIRM_KEYS_MS: '700' },
  });
  const isReady = async (slot: number) => (await askHub(hub, '/servers', slot))?.servers[0]?.state === 'ready';
  for (const slot of [1, 2]) await until(() => isReady(slot), 30_000, `the server at worker ${slot}`);
  const slow = await slowness();
  const made = await owner(hub, 'POST', '/api/keys', { user: 'ann', name: 'test' });
  const key: string = made.secret;
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => openSession(`${hub.url}/mcp`, key)));
  // Of each session one worker keeps the stream; worker 1 passes those of worker 2 on.
  const streams = sessions.map((session) => ask(hub, 'first', key, { session }));
  for (const stream of streams) assert.equal((await stream.answered()).status, 200);
  const passed = await passedOn(hub);
  assert.ok(passed > 0 && passed < SESSIONS, `${passed} streams were passed on`);
  // Sessions of another key whose worker is the second one: its calls are passed on too.
  const others = await Promise.all(Array.from({ length: SESSIONS }, () => openSession(`${hub.url}/mcp`, hub.key)));

  // Connections that clients keep, at both workers.
  const kept = Array.from({ length: SESSIONS }, () => new Client(hub));
  for (const client of kept) assert.equal((await client.list()).status, 200);

  const victim = workerPid(hub, '2');
  process.kill(victim, 'SIGSTOP');
  const stoppedMs = performance.now();
  const gone = owner(hub, 'DELETE', `/api/keys/${made.key.id}`);
  await until(() => streams.every(({ over }) => over), 5000, 'the end of the streams');
  const endedMs = performance.now() - stoppedMs;
  // Before the supervisor has ended the worker: by the sibling.
  assert.ok(endedMs < 1000 * slow, `${Math.round(endedMs)} ms`);

  const tell = async (reading: Reading) => {
    const bornMs = performance.now();
    await reading.end(20_000);
    return { ...reading, ms: performance.now() - bornMs };
  };
  const [fresh, calls, onKept] = await Promise.all([
    Promise.all(Array.from({ length: 20 }, () => tell(ask(hub, 'port', hub.key, { body: PING })))),
    Promise.all(others.map((session) => tell(ask(hub, 'first', hub.key, { session, body: CALL })))),
    Promise.all(kept.map((client) => client.list())),
  ]);
  const overMs = performance.now() - stoppedMs;
  for (const client of kept) client.close();
  const { unconfirmed } = await gone;
  assert.deepEqual(
    unconfirmed.map(({ hub }: { hub: number }) => hub),
    [2],
  );
  assert.ok(overMs < REPLACED_MS * slow, `everything is over after ${Math.round(overMs)} ms`);
  // New connections are answered; the one that the stopped worker was handed waits for its end.
  assert.deepEqual(new Set(fresh.map(({ status }) => status)), new Set([200]));
  const waited = fresh.filter(({ ms }) => ms > 1000 * slow).length;
  assert.ok(waited <= 1, `${waited} new connections waited for the stopped worker`);
  // What the stopped worker may have begun is cut with it, and not done again: its connections, and calls for its
  // sessions.
  const cutCalls = calls.filter(({ status }) => status === 0).length;
  const cutKept = onKept.filter(({ status }) => status === 0).length;
  assert.ok(calls.every(({ status, body }) => status === 0 || body.includes('"result"')));
  assert.ok(onKept.every((answer) => answer.status === 0 || isResult(answer)));
  assert.ok(cutCalls < SESSIONS && cutKept < SESSIONS, `${cutCalls} calls and ${cutKept} connections were cut`);
  const slowest = Math.max(...fresh.map(({ ms }) => ms));
  t.diagnostic(
    `of ${SESSIONS} each: ${passed} streams were passed on and ended after ${Math.round(endedMs)} ms, ${cutCalls} calls and ${cutKept} kept connections were cut; all over after ${Math.round(overMs)} ms, slowest new connection ${Math.round(slowest)} ms`,
  );
  for (const session of others) {
    const again = await ask(hub, 'port', hub.key, { session, body: CALL }).end();
    assert.match(again.body, /"result"/);
  }
});

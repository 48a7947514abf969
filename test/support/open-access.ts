/**
 * Everything that one key can have open at a hub at once, and when each of it ended as its client saw it.
 * `hub` needs the servers `clock` (fault-stdio `updates`), `plain` (fault-stdio) and `asking`
 * (conformance/everything-http, interactive).
 */
import { request } from 'node:http';
import { until } from './hub.ts';
import { rpc } from './mcp.ts';
import { callText, Reading, SseClient } from './sse-client.ts';
import { openStateless, stateless } from './stateless.ts';

export interface OpenThing {
  readonly kind: string;
  readonly reading: Reading;
  /** performance.now() of its end; undefined = still open. */
  endedMs: number | undefined;
  /** performance.now() of its last message. */
  lastMs: number;
}

export interface HubAddress {
  readonly port: number;
  readonly url: string;
  readonly key: string;
}

const CLOCK = 'fault://clock';

function watch(kind: string, reading: Reading): OpenThing {
  const thing: OpenThing = { kind, reading, endedMs: undefined, lastMs: 0 };
  let seen = 0;
  const look = setInterval(() => {
    if (reading.messages.length > seen) {
      seen = reading.messages.length;
      thing.lastMs = performance.now();
    }
    if (!reading.over) return;
    clearInterval(look);
    thing.endedMs = performance.now();
  }, 2);
  return thing;
}

/** The stream of a client of 2024-11-05 that has made its session and subscribed. */
async function openOldStream(hub: HubAddress, key: string): Promise<Reading> {
  const headers = { authorization: `Bearer ${key}`, accept: 'text/event-stream' };
  const sent = request({ host: '127.0.0.1', port: hub.port, path: '/sse', method: 'GET', headers, agent: false });
  const reading = new Reading(sent);
  sent.end();
  await reading.hasMessages(1);
  const path = new URL(reading.messages[0] ?? '', `${hub.url}/sse`);
  const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'old', version: '1' } };
  await rpc(path.href, 'initialize', params, { key });
  await reading.hasMessages(2);
  await rpc(path.href, 'resources/subscribe', { uri: CLOCK }, { key, id: 2 });
  return reading;
}

/** Opens one of each kind for `key`, and returns when each is open and streams have had an update. */
export async function openAll(hub: HubAddress, key: string, workers: number): Promise<readonly OpenThing[]> {
  const client = await new SseClient({ port: hub.port, key, sockets: 8 }).open();
  const standing = client.get();
  await standing.answered();
  await client.post('{"jsonrpc":"2.0","id":7,"method":"resources/subscribe","params":{"uri":"fault://clock"}}').end();
  const old = await openOldStream(hub, key);
  const owner = { port: hub.port, key };
  const notifications = { toolsListChanged: true, resourceSubscriptions: [CLOCK] };
  const listen = openStateless(owner, 'subscriptions/listen', { notifications });
  const waiting = client.postAlone(callText('plain_sleep', '{"ms":600000}', { id: '11' }));
  const telling = client.postAlone(
    callText('plain_report', '{"text":"step","steps":100000,"ms":50}', { id: '12', token: '"t"' }),
  );
  const sessionless = openStateless(owner, 'tools/call', { name: 'plain_sleep', arguments: { ms: 600_000 } });
  const parked = await stateless(
    `${hub.url}/mcp`,
    'tools/call',
    { name: 'asking_test_input_required_result_elicitation', arguments: {} },
    { key },
  );
  if (parked.json?.result?.resultType !== 'input_required') throw new Error(`not suspended: ${parked.text}`);
  const lost = client.postAlone(
    callText('plain_report', '{"text":"kept","steps":100000,"ms":50}', { id: '13', token: '"k"' }),
  );
  await lost.hasMessages(1);
  lost.drop();
  await Promise.all([listen.hasMessages(1), telling.hasMessages(1)]);
  // Updates reach the worker that runs the server only.
  if (workers === 1) {
    await Promise.all([standing.hasMessages(1), listen.hasMessages(2)]);
    await until(() => old.messages.length >= 4, 10_000, 'an update on /sse');
  }
  return [
    watch('GET stream', standing),
    watch('/sse stream', old),
    watch('subscriptions/listen', listen),
    watch('waiting call', waiting),
    watch('call with a stream', telling),
    watch('call of 2026-07-28', sessionless),
  ];
}

/** Server's time stamps (ms since 1970) of the updates in what a stream has received. */
export function sentTimes({ reading }: OpenThing): number[] {
  return [...reading.received.matchAll(/"sentMs":(\d+)/g)].map(([, text]) => Number(text));
}

import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { findingsOf } from './findings.ts';
import type { HubReport, Seen } from './inspection.ts';
import { listenersOf } from './processes.ts';

/** Returns the observations for the port of a server that listens there. */
async function listenerAt(host: string) {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, host, done));
  const { port } = server.address() as AddressInfo;
  const seen = listenersOf(process.pid).find((one) => one.port === port);
  await new Promise<void>((done) => server.close(() => done()));
  return seen;
}

test('distinguishes a port that other machines can reach from one on loopback', {
  skip: process.platform !== 'linux',
}, async () => {
  for (const host of ['127.0.0.1', '127.0.0.9', '::1', '::ffff:127.0.0.1'])
    assert.equal((await listenerAt(host))?.isOpen, false, host);
  for (const host of ['0.0.0.0', '::']) assert.equal((await listenerAt(host))?.isOpen, true, host);
});

function finding(isOpen: boolean, trustedProxies: number, more: Partial<HubReport> = {}): string[] {
  const healthy = { ms: 1, status: 200, text: '' };
  const seen: Partial<Seen> = {
    guard: 1,
    ports: [{ port: 3000, queue: 0, isOpen, health: healthy }],
    hubs: [{ hub: 'hub-1', servers: [], waits: [], ceilings: [], counts: { trustedProxies }, ...more }],
    evidence: [],
    processes: [
      { role: 'hub-1', answer: { ms: 1 } },
      { role: 'control', answer: { ms: 1 } },
    ].map((one) => ({ state: 'S', sleepsIn: '', cpuPercent: 0, pid: 2, ...one })) as unknown as Seen['processes'],
  };
  return findingsOf(seen as Seen).map(({ says }) => says);
}

test('notes an open port where no trusted proxy is configured', () => {
  assert.deepEqual(finding(true, 0), ['Port 3000 is open to other machines without TLS: keys travel unencrypted.']);
  assert.deepEqual(finding(true, 1), []);
  assert.deepEqual(finding(false, 0), []);
});

test('names a server whose lists do not fit in a snapshot, once', () => {
  assert.deepEqual(finding(false, 0, { catalogsTooLarge: [{ server: 'big', bytes: 27e6 }] }), [
    'The lists of big (27.0 MB) do not fit in snapshotBytes: a worker that starts must fetch them from the server.',
  ]);
});

/** Rows of the kernel's table: which clients are unreachable, and which only do not read. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { unheard, watchUnreachableClients } from './unreachable-clients.ts';

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

function row(peer: string, state: string, queues: string, timer: string, again: string, asked = 0): string {
  return `   1: 0100007F:0BB8 ${peer} ${state} ${queues} ${timer}:000003F1 ${again}     0        ${asked} 81237 1 0000000000000000 20 4 30 10 -1`;
}

test('only connections whose bytes are sent again and again are named', () => {
  const text = [
    HEAD,
    row('0100007F:D431', '01', '0000002A:00000000', '01', '00000007'),
    row('0200000A:0050', '01', '0000002A:00000000', '01', '00000002'), // not long yet
    row('0300000A:0050', '01', '00000000:00000000', '01', '00000009'), // nothing is unacknowledged
    row('0400000A:0050', '01', '0000002A:00000000', '04', '00000009'), // reachable, and does not read
    row('0600000A:0050', '01', '0000002A:00000000', '04', '00000000', 11), // its machine is not found
    row('0700000A:0050', '01', '0000002A:00000000', '04', '00000009', 5), // not long yet
    row('0500000A:0050', '06', '0000002A:00000000', '01', '00000009'), // closed
    row('B80D0120000000000000000001000000:01BB', '01', '00000001:00000000', '01', '00000006'),
    row('0000000000000000FFFF00000A01A8C0:C350', '01', '00000001:00000000', '01', '0000000F'),
  ].join('\n');
  assert.deepEqual(unheard(text), ['127.0.0.1:54321', '10.0.0.6:80', '2001:db8:0:0:0:0:0:1:443', '192.168.1.10:50000']);
  assert.deepEqual(unheard(''), []);
});

test('ten thousand rows cost a few milliseconds', () => {
  const text = [
    HEAD,
    ...Array.from({ length: 10_000 }, () => row('0100007F:D431', '01', '00000000:00000000', '00', '00000000')),
  ].join('\n');
  const before = process.threadCpuUsage();
  assert.deepEqual(unheard(text), []);
  const { user } = process.threadCpuUsage(before);
  assert.ok(user < 50_000, `${user / 1000} ms`);
});

test('a table that takes too long to read is no fault of the hub', async () => {
  const { runtime, advance } = frozenRuntime();
  const events: string[] = []; // bounded by: one test
  runtime.bus.listen(({ type }) => events.push(type));
  using _ = watchUnreachableClients({ runtime, limits: { vanishedLookMs: 1000 }, sockets: () => [{} as Socket] });
  advance(1000);
  // The check begins in a microtask; its read ends in a later turn.
  await Promise.resolve();
  advance(5000);
  for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  assert.deepEqual(events, ['wait-expired']);
});

/**
 * Detects clients that disappear without closing (a closed laptop, a cable, a router): the kernel gives up
 * unacknowledged data only after 15 minutes, and Node cannot shorten that. Does nothing without /proc (ADR 0014).
 * Guarantees: a connection with retransmissions for at least `vanishedLookMs` is ended at the second check, so within
 * two minutes; `slow-reader.ts` handles reachable clients that do not read.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import type { Runtime } from '../runtime/runtime.ts';

const READ_MS = 5000;
/** Number of retransmissions: with doubling intervals six take at least 12 s. */
const AGAIN = 6;
const TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6'] as const;
/**
 * Established (01), unacknowledged data, and a running retransmission (01) or window probe (04) timer: the peer's
 * address, the timer, and the number of attempts. The second timer also runs for a reachable client that does not read,
 * which answers each time, and for a neighbour whose machine is not found.
 */
const ROW =
  /^ *\d+: [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]+:[0-9A-F]{4}) 01 (?!00000000)[0-9A-F]{8}:[0-9A-F]{8} 0([14]):[0-9A-F]{8} ([0-9A-F]{8}) +\d+ +(\d+) /gm;

export interface UnreachableClientParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'vanishedLookMs'>;
  /** Returns the connections to check. */
  readonly sockets: () => Iterable<Socket>;
}

/** Idempotent at its end. */
export function watchUnreachableClients({ runtime, limits, sockets }: UnreachableClientParts): Disposable {
  let suspects: ReadonlySet<string> = new Set(); // bounded by: connections
  let isLooking = false;

  async function look(): Promise<void> {
    using deadline = runtime.deadline(READ_MS);
    const found = new Set<string>(); // bounded by: connections
    for (const table of TABLES) {
      const text = await runtime.waits.for(
        readFile(table, 'latin1').catch(() => ''),
        { label: 'kernel-table', owner: table, deadline },
      );
      for (const peer of unheard(text)) found.add(peer);
    }
    const gone = new Set([...found].filter((peer) => suspects.has(peer))); // bounded by: connections
    suspects = found;
    if (gone.size === 0) return;
    let count = 0;
    for (const socket of sockets()) {
      if (!gone.has(peerOf(socket))) continue;
      count += 1;
      socket.destroy();
    }
    if (count > 0) runtime.bus.publish({ type: 'clients-vanished', connections: count });
  }

  return runtime.timers.every(
    () => limits.vanishedLookMs,
    () => {
      if (isLooking || sockets()[Symbol.iterator]().next().done) return;
      isLooking = true;
      runtime.scope.run('vanished clients', async () => {
        try {
          await look();
        } catch (fault) {
          // On a busy machine the read may time out: that is published as `wait-expired`, and the next check is soon
          // enough.
          if (!(fault instanceof HubError) || fault.code !== 'wait-expired') throw fault;
        } finally {
          isLooking = false;
        }
      });
    },
  );
}

/** Returns peers, as `address:port`, to which the kernel keeps retransmitting. `text`: a table of the kernel. */
export function unheard(text: string): string[] {
  return [...text.matchAll(ROW)].flatMap(([, peer = '', timer, again = '', asked]) =>
    (timer === '1' ? Number.parseInt(again, 16) : Number(asked)) >= AGAIN ? [peerFrom(peer)] : [],
  );
}

function peerOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${canonical(remoteAddress)}:${remotePort}`;
}

/** Reads words of four bytes, each with its last byte first. */
function peerFrom(text: string): string {
  const [hex = '', port = ''] = text.split(':');
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).reverse());
  const address =
    bytes.length === 4
      ? bytes.map((byte) => Number.parseInt(byte, 16)).join('.')
      : (bytes.join('').match(/.{4}/g) ?? []).join(':');
  return `${canonical(address)}:${Number.parseInt(port, 16)}`;
}

/** Returns one spelling for each address; an IPv4-mapped IPv6 address becomes IPv4. */
function canonical(address: string): string {
  const bare = address.split('%', 1)[0] ?? '';
  const dressed = /^(?:::ffff:|0000:0000:0000:0000:0000:ffff:)(.+)$/i.exec(bare)?.[1];
  if (dressed?.includes('.')) return dressed;
  if (dressed) {
    const hex = dressed
      .split(':')
      .map((word) => word.padStart(4, '0'))
      .join('');
    return (hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).join('.');
  }
  if (!bare.includes(':')) return bare;
  const [head = '', tail] = bare.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].map((word) => Number.parseInt(word, 16).toString(16)).join(':');
}

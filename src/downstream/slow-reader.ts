/**
 * Readers of answers that are complete and not taken: cut when nothing leaves for `streamSlowMs`, noticed within twice that; and when all
 * unread answers together are more than `unreadBytes`, the one that has been waiting longest goes first.
 * Promises: who takes it slowly gets all of it, while there is room (the runtime looks whether the socket's queue has become shorter); after the
 * last byte the connection has its usual limit again; a cut is a fact.
 * Does not: watch streams that are still written to (`streams.ts`).
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';

export interface SlowReaders {
  /** Called when an answer's last bytes have been handed over. */
  watch(response: ServerResponse): void;
  /** Bytes that wait for their readers. */
  readonly bytes: number;
}

export function createSlowReaders(parts: {
  readonly kernel: Kernel;
  readonly limits: Pick<Limits, 'streamSlowMs' | 'unreadBytes'>;
}): SlowReaders {
  const { kernel, limits } = parts;
  /** The one that has been waiting longest is first. */
  const unread = new Set<ServerResponse>(); // bounded by: connections

  function total(): number {
    let bytes = 0;
    for (const response of unread) bytes += response.writableLength;
    return bytes;
  }

  function cut(response: ServerResponse): void {
    unread.delete(response);
    kernel.bus.publish({ type: 'reader-cut', bytes: response.writableLength });
    response.destroy();
  }

  return {
    watch(response) {
      if (response.destroyed || response.writableFinished || response.writableLength === 0) return;
      // The runtime's timer notes the queue's length when it fires first, and fires for good when that is the same the next time. Not sooner: the
      // kernel takes more only when a third of its own buffer, megabytes perhaps, is free, which takes a slow reader seconds.
      response.setTimeout(limits.streamSlowMs, () => cut(response));
      unread.add(response);
      response.on('close', () => unread.delete(response));
      let bytes = total();
      for (const oldest of unread) {
        if (bytes <= limits.unreadBytes) break;
        bytes -= oldest.writableLength;
        cut(oldest);
      }
    },
    get bytes() {
      return total();
    },
  };
}

/**
 * Readers of answers that are complete and not taken: cut when nothing leaves for `streamSlowMs` (noticed a tenth sooner at most); and when all
 * unread answers together are more than `unreadBytes`, the one that has been waiting longest goes first.
 * Promises: who takes it slowly gets all of it, while there is room (the runtime looks whether the socket's queue has become shorter); after the
 * last byte the connection has its usual limit again; a cut is a fact.
 * Does not: watch streams that are still written to (`streams.ts`).
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';

/** Looks at a queue within `streamSlowMs`. */
const LOOKS = 10;

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
      // The runtime's timer notes the queue's length when it fires, and tells of it only when that is the same the next time. One look alone proves
      // nothing: the kernel takes more only when a third of its own buffer, megabytes perhaps, is free, which takes a slow reader seconds.
      const everyMs = limits.streamSlowMs / LOOKS;
      let [looks, lastMs] = [0, Number.NEGATIVE_INFINITY];
      response.setTimeout(everyMs, () => {
        const nowMs = kernel.clock.nowMs();
        // A look that was not told of found a shorter queue.
        looks = nowMs - lastMs < 1.9 * everyMs ? looks + 1 : 1;
        lastMs = nowMs;
        if (looks >= LOOKS - 1) cut(response);
        else response.setTimeout(everyMs);
      });
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

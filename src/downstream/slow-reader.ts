/**
 * Readers of answers that are complete and not taken: cut when nothing leaves for `streamSlowMs` (noticed a tenth sooner at most). When one key
 * leaves more than `unreadBytesPerKey` unread, or all together more than `unreadBytes`, the answers that have waited longest go first, those of
 * the key that holds most before others'.
 * Guarantees: the listener has every response watched from its last byte on, whoever wrote it; a reader that takes it slowly gets all of it while
 * there is room (the runtime looks whether the socket's queue has become shorter); a cut is an event.
 * Does not: watch streams that are still written to (`streams.ts`).
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** Looks at a queue within `streamSlowMs`. */
const LOOKS = 10;
const OWNER = Symbol('owner');

export interface SlowReaders {
  /** Called when an answer's last bytes have been handed over. */
  watch(response: ServerResponse): void;
  /** Bytes that wait for their readers. */
  readonly bytes: number;
}

/** Says whose share (`shareOf`) the unread bytes of a response are counted for; without it, for the client's address. */
export function countFor(response: ServerResponse, owner: string): void {
  (response as OwnedResponse)[OWNER] = owner;
}

interface OwnedResponse extends ServerResponse {
  [OWNER]?: string;
}

function ownerOf(response: OwnedResponse): string {
  return response[OWNER] ?? `address:${response.socket?.remoteAddress ?? ''}`;
}

export function createSlowReaders(parts: {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'streamSlowMs' | 'unreadBytes' | 'unreadBytesPerKey'>;
}): SlowReaders {
  const { runtime, limits } = parts;
  /** With its owner; the one that has been waiting longest is first. */
  const unread = new Map<ServerResponse, string>(); // bounded by: connections
  /** What they held when they were counted last; queues of complete answers only become shorter. */
  let held = { bytes: 0, byOwner: new Map<string, number>() }; // bounded by: unread

  /** Counts what they hold now. */
  function count(): typeof held {
    const byOwner = new Map<string, number>(); // bounded by: unread
    let bytes = 0;
    for (const [response, owner] of unread) {
      bytes += response.writableLength;
      byOwner.set(owner, (byOwner.get(owner) ?? 0) + response.writableLength);
    }
    held = { bytes, byOwner };
    return held;
  }

  function cut(response: ServerResponse): void {
    unread.delete(response);
    runtime.bus.publish({ type: 'reader-cut', bytes: response.writableLength });
    response.destroy();
  }

  /** Cuts the answers of `owner`, the one that has waited longest first, while `isOver` holds. */
  function shrink(owner: string, isOver: () => boolean): void {
    for (const [response, whose] of unread) {
      if (!isOver()) return;
      if (whose !== owner) continue;
      const bytes = response.writableLength;
      held.bytes -= bytes;
      held.byOwner.set(owner, (held.byOwner.get(owner) ?? 0) - bytes);
      cut(response);
    }
    held.byOwner.delete(owner);
  }

  function makeRoom(owner: string): void {
    const ownIsOver = () => (held.byOwner.get(owner) ?? 0) > limits.unreadBytesPerKey;
    const allAreOver = () => held.bytes > limits.unreadBytes;
    if (!ownIsOver() && !allAreOver()) return;
    count();
    shrink(owner, ownIsOver);
    while (allAreOver() && held.byOwner.size > 0) {
      const [greediest] = [...held.byOwner].reduce((most, one) => (one[1] > most[1] ? one : most));
      shrink(greediest, allAreOver);
    }
  }

  return {
    watch(response) {
      const bytes = response.writableLength;
      if (bytes === 0 || response.destroyed || response.writableFinished || unread.has(response)) return;
      // The runtime's timer notes the queue's length when it fires, and tells of it only when that is the same the next time. One look alone proves
      // nothing: the kernel takes more only when a third of its own buffer, megabytes perhaps, is free, which takes a slow reader seconds.
      const everyMs = limits.streamSlowMs / LOOKS;
      let [looks, lastMs] = [0, Number.NEGATIVE_INFINITY];
      response.setTimeout(everyMs, () => {
        const nowMs = runtime.clock.nowMs();
        // A look that was not told of found a shorter queue.
        looks = nowMs - lastMs < 1.9 * everyMs ? looks + 1 : 1;
        lastMs = nowMs;
        if (looks >= LOOKS - 1) cut(response);
        else response.setTimeout(everyMs);
      });
      const owner = ownerOf(response);
      unread.set(response, owner);
      response.on('close', () => unread.delete(response));
      held.bytes += bytes;
      held.byOwner.set(owner, (held.byOwner.get(owner) ?? 0) + bytes);
      makeRoom(owner);
    },
    get bytes() {
      return count().bytes;
    },
  };
}

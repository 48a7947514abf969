/**
 * Closes complete answers whose reader takes nothing for `streamSlowMs`. Above `unreadBytesPerKey` or `unreadBytes` the
 * oldest are closed, first those of the key that holds most. `streams.ts` watches open streams.
 * Guarantees: every response is watched from its last byte; a slow reader gets all of it while there is room; a cut is
 * an event.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';

/** Checks of a queue within `streamSlowMs`. */
const LOOKS = 10;
const OWNER = Symbol('owner');

export interface SlowReaders {
  /** Call this when the last bytes of an answer were handed over. */
  watch(response: ServerResponse): void;
  /** Bytes that wait for their readers. */
  readonly bytes: number;
}

/** Sets the share (`shareOf`) that the unread bytes of a response count for; default: the client's address. */
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
  /** With their owners; the one that has waited longest is first. */
  const unread = new Map<ServerResponse, string>(); // bounded by: connections
  /** Their sizes at the last count; queues of complete answers only become shorter. */
  let held = { bytes: 0, byOwner: new Map<string, number>() }; // bounded by: unread

  /** Counts their current sizes. */
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

  /** Closes answers of `owner` while `isOver` holds, the one that has waited longest first. */
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
      // Node's timer notes the queue's length when it fires, and reports it only if it is the same the next time. One
      // check proves nothing: the kernel takes more only when a third of its buffer, possibly megabytes, is free, which
      // takes a slow reader seconds.
      const everyMs = limits.streamSlowMs / LOOKS;
      let [looks, lastMs] = [0, Number.NEGATIVE_INFINITY];
      response.setTimeout(everyMs, () => {
        const nowMs = runtime.clock.nowMs();
        // A check without a report found a shorter queue.
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

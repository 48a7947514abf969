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

interface Unread {
  bytes: number;
  readonly byOwner: Map<string, number>; // bounded by: the answers that are watched
}

export interface SlowReadersParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'streamSlowMs' | 'unreadBytes' | 'unreadBytesPerKey'>;
}

export class SlowReaders {
  readonly #parts: SlowReadersParts;
  /** With their owners; the one that has waited longest is first. */
  readonly #unread = new Map<ServerResponse, string>(); // bounded by: connections
  /** Their sizes at the last count; queues of complete answers only become shorter. */
  #held: Unread = { bytes: 0, byOwner: new Map() };

  constructor(parts: SlowReadersParts) {
    this.#parts = parts;
  }

  /** Call this when the last bytes of an answer were handed over. */
  watch(response: ServerResponse): void {
    const { limits, runtime } = this.#parts;
    const bytes = response.writableLength;
    if (bytes === 0 || response.destroyed || response.writableFinished || this.#unread.has(response)) return;
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
      if (looks >= LOOKS - 1) this.#cut(response);
      else response.setTimeout(everyMs);
    });
    const owner = ownerOf(response);
    this.#unread.set(response, owner);
    response.on('close', () => this.#unread.delete(response));
    this.#held.bytes += bytes;
    this.#held.byOwner.set(owner, (this.#held.byOwner.get(owner) ?? 0) + bytes);
    this.#makeRoom(owner);
  }

  /** Bytes that wait for their readers. */
  get bytes(): number {
    return this.#count().bytes;
  }

  /** Counts their current sizes. */
  #count(): Unread {
    const byOwner = new Map<string, number>(); // bounded by: unread
    let bytes = 0;
    for (const [response, owner] of this.#unread) {
      bytes += response.writableLength;
      byOwner.set(owner, (byOwner.get(owner) ?? 0) + response.writableLength);
    }
    this.#held = { bytes, byOwner };
    return this.#held;
  }

  #cut(response: ServerResponse): void {
    const { runtime } = this.#parts;
    this.#unread.delete(response);
    runtime.bus.publish({ type: 'reader-cut', bytes: response.writableLength });
    response.destroy();
  }

  /** Closes answers of `owner` while `isOver` holds, the one that has waited longest first. */
  #shrink(owner: string, isOver: () => boolean): void {
    for (const [response, whose] of this.#unread) {
      if (!isOver()) return;
      if (whose !== owner) continue;
      const bytes = response.writableLength;
      this.#held.bytes -= bytes;
      this.#held.byOwner.set(owner, (this.#held.byOwner.get(owner) ?? 0) - bytes);
      this.#cut(response);
    }
    this.#held.byOwner.delete(owner);
  }

  #makeRoom(owner: string): void {
    const { limits } = this.#parts;
    const ownIsOver = () => (this.#held.byOwner.get(owner) ?? 0) > limits.unreadBytesPerKey;
    const allAreOver = () => this.#held.bytes > limits.unreadBytes;
    if (!ownIsOver() && !allAreOver()) return;
    this.#count();
    this.#shrink(owner, ownIsOver);
    while (allAreOver() && this.#held.byOwner.size > 0) {
      const [greediest] = [...this.#held.byOwner].reduce((most, one) => (one[1] > most[1] ? one : most));
      this.#shrink(greediest, allAreOver);
    }
  }
}

/**
 * Long SSE responses: GET streams and answers that became streams. Guarantees: a comment at least every
 * `streamKeepAliveMs`; a stream ends when its reader takes nothing for `streamSlowMs` or leaves more than
 * `streamBytes`; above `streamsBytes` those blocked longest end; none is older than `streamMs`; no key has more than
 * `streamsPerKey`, or evicts streams of a key that holds less.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Access } from '../runtime/open-item.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import { markStream } from './connection.ts';
import { SseStream } from './sse-stream.ts';

const SWEEP_MS = 1000;
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

export interface StreamsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
}

export class Streams {
  readonly #parts: StreamsParts;
  /** An evicted stream was the oldest one of the owner that holds most. */
  readonly #streams: FairMap<SseStream, SseStream>;
  readonly #sweep: Disposable;

  constructor(parts: StreamsParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    const bounds = { max: () => limits.streams, share: () => limits.streamsPerKey };
    this.#streams = new FairMap('downstream.streams', bounds, 'evict-greediest', runtime.ceilings, (stream) =>
      stream.close('too-many-streams'),
    );
    this.#sweep = runtime.timers.every(SWEEP_MS, () => {
      const nowMs = runtime.clock.nowMs();
      for (const stream of [...this.#streams.values()]) stream.look(nowMs, limits);
      this.#makeRoom();
    });
  }

  /**
   * Turns a response into a stream of `owner` (`shareOf`) that ends with the key of its caller. `closed` is called once
   * with the reason. An owner at its share is refused; at the total limit, the oldest stream of the owner that holds
   * most is closed.
   */
  open(
    response: ServerResponse,
    {
      owner,
      access,
      headers,
    }: {
      readonly owner: string;
      readonly access: Access;
      readonly headers?: Readonly<Record<string, string>>;
    },
    closed: (reason: string) => void,
  ): Outcome<SseStream> {
    const { limits, runtime } = this.#parts;
    if (response.destroyed) return new Refusal('client-gone');
    if (this.#streams.sizeOf(owner) >= Math.min(limits.streamsPerKey, limits.streams)) return this.#refusal();
    const open = runtime.openWork.add('stream', access);
    if (isRefusal(open)) return open;
    const stream = new SseStream(response, { runtime, keepAliveMs: limits.streamKeepAliveMs }, (reason) => {
      this.#streams.delete(stream);
      open.close();
      closed(reason);
    });
    // Counted before it listens to its response, so that a refused one leaves nothing behind.
    if (!this.#streams.set(owner, stream, stream)) {
      open.close();
      return this.#refusal();
    }
    stream.begin();
    open.onEnd((why) => stream.revoke(why));
    markStream(response);
    response.writeHead(200, { ...HEADERS, ...headers });
    runtime.timers.afterInput(() => stream.ensureFirst());
    return stream;
  }

  /** Ends all of them (drain). */
  closeAll(reason: string): void {
    for (const stream of [...this.#streams.values()]) stream.close(reason);
  }

  get size(): number {
    return this.#streams.size;
  }

  stop(): void {
    this.#sweep[Symbol.dispose]();
  }

  #refusal(): Refusal {
    const { limits } = this.#parts;
    if (limits.streams <= limits.streamsPerKey)
      return new Refusal('overloaded', `${limits.streams} streams are open.`, { setting: 'streams' });
    const why = `This key has ${limits.streamsPerKey} streams open.`;
    return new Refusal('key-busy', why, { setting: 'streamsPerKey' });
  }

  /** Closes streams while all together keep too much unread data. */
  #makeRoom(): void {
    const { limits } = this.#parts;
    let bytes = 0;
    for (const stream of this.#streams.values()) bytes += stream.unreadBytes;
    if (bytes <= limits.streamsBytes) return;
    const blocked = [...this.#streams.values()].filter(({ blockedMs }) => blockedMs >= 0);
    for (const stream of blocked.sort((a, b) => a.blockedMs - b.blockedMs)) {
      if (bytes <= limits.streamsBytes) return;
      bytes -= stream.unreadBytes;
      stream.cut('slow-reader');
    }
  }
}

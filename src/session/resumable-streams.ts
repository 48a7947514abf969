/**
 * Resumable streams: buffers what was sent, so that a client can continue a stream with GET and `Last-Event-ID`.
 * Guarantees: an event is replayed only on its own stream; nothing follows the final message; of several connections
 * the newest receives new events; buffers are limited in number, bytes and time, each and in total; an event id names
 * the worker, its process and the request, so that any worker can report a lost call. Source:
 * https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import { isRequestId } from '../protocol/answer-id.ts';
import type { Access } from '../runtime/open-item.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount, FairMap } from '../runtime/shares.ts';
import { BufferedStream, FINAL_EVENT } from './_buffered-stream.ts';
import type { SessionStream } from './_open-streams.ts';

/** The connection that receives the events of a stream. */
export interface StreamConnection extends SessionStream {
  send(message: Buffer, eventId?: string): boolean;
}

export interface ResumableStream extends SessionStream {
  /** Event id before the first event; sent in a priming event. */
  readonly firstId: string;
  /** Sends events here from now on, first those after number `after`. A finished stream then closes the connection. */
  attach(stream: StreamConnection, after: number): void;
  /** The client has disconnected; events are buffered for it. */
  detach(stream: StreamConnection): void;
  /** Ends the stream without a final message, after a cancelled call. Sent events can still be resumed. */
  finishSilently(): void;
  /** Sends the final message. It stays buffered for `replayMs`, for a client that disconnected before it arrived. */
  finish(message: Buffer): void;
}

export type Resumed =
  | { readonly kind: 'stream'; readonly stream: ResumableStream; readonly after: number; readonly isCall: boolean }
  /** The stream belongs to another worker of this host. */
  | { readonly kind: 'other-worker'; readonly slot: number; readonly idRaw: Buffer | undefined }
  /** The call with this request id was lost with its worker, or is too old. */
  | { readonly kind: 'lost'; readonly idRaw: Buffer }
  /** The client has already received the final message. */
  | { readonly kind: 'finished' }
  /** No stream to resume: open a new one. */
  | { readonly kind: 'none' };

const MAX_ID_BYTES = 128;
/** Maximum number of streams evicted to buffer one event. */
const MAX_EVICTIONS = 64;
/** Used instead of a process id in event ids that report a lost call; process ids are longer. */
const LOST_INSTANCE = 'lost';
const EVENT_ID = /^(\d{1,3})\.([\w-]{4,16})\.([0-9a-z]{1,10})\.([0-9a-z]{1,8})(E?)(?:\.([\w-]{1,172}))?$/;

/**
 * Returns the id of the event that reports a lost call; a client that has received it has everything. `idRaw` comes
 * from an event id.
 */
export function lostEventId(idRaw: Buffer): string {
  return `0.${LOST_INSTANCE}.0.0.${idRaw.toString('base64url')}`;
}

export interface ResumableStreamsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Slot of this worker. */
  readonly slot: number;
}

export class ResumableStreams {
  readonly #parts: ResumableStreamsParts;
  /** Distinguishes this process from earlier ones of its slot. */
  readonly #instanceId = randomBytes(6).toString('base64url');
  readonly #streams: FairMap<string, BufferedStream>;
  readonly #bytes: FairCount;
  #opened = 0;

  constructor(parts: ResumableStreamsParts) {
    const { runtime, limits } = parts;
    this.#parts = parts;
    this.#streams = new FairMap(
      'session.tracks',
      { max: () => limits.streams, share: () => limits.resumableStreamsPerKey },
      'evict-greediest',
      runtime.ceilings,
      (_: string, stream: BufferedStream) => stream.evict(),
    );
    this.#bytes = new FairCount(
      'session.replay-bytes',
      () => limits.replayAllBytes,
      () => limits.replayBytesPerKey,
      'refuse',
      runtime.ceilings,
    );
  }

  /**
   * Opens a stream of a session for a caller; it closes when the caller's key loses access, and is returned closed when
   * it has none.
   * `idRaw`: JSON text of the request id; undefined = the GET stream of the session. `closed` is called when the stream
   * closes.
   */
  open(
    { random, owner }: { readonly random: string; readonly owner: string },
    idRaw: Buffer | undefined,
    access: Access,
    closed?: () => void,
  ): ResumableStream {
    const { runtime, limits, slot } = this.#parts;
    const open = runtime.openWork.add('retained-stream', access);
    this.#opened += 1;
    const number = this.#opened.toString(36);
    const stream = new BufferedStream({
      runtime,
      limits,
      reserve: (amount: number) => this.#reserveBytes(owner, amount),
      release: (amount: number) => this.#bytes.give(owner, amount),
      random,
      isCall: idRaw !== undefined,
      head: `${slot}.${this.#instanceId}.${number}.`,
      tail: idRaw && idRaw.length <= MAX_ID_BYTES ? `.${idRaw.toString('base64url')}` : '',
      onClosed: () => {
        if (isRefusal(open)) return;
        open.close();
        this.#streams.delete(number);
        closed?.();
      },
    });
    if (isRefusal(open)) stream.close(open.code);
    else {
      this.#streams.set(owner, number, stream);
      open.onEnd(({ code }) => stream.close(code));
    }
    return stream;
  }

  /** Returns what the `Last-Event-ID` of this session refers to. */
  resume(random: string, lastEventId: string): Resumed {
    const parts = EVENT_ID.exec(lastEventId);
    if (!parts) return { kind: 'none' };
    const [, slotText, instanceId, number = '', seq = '', end, idText] = parts;
    // The id itself tells: the worker that answered may no longer exist.
    if (end === FINAL_EVENT) return { kind: 'finished' };
    const idRaw = idText === undefined ? undefined : requestId(idText);
    if (instanceId === LOST_INSTANCE && idRaw) return { kind: 'finished' };
    const lost: Resumed = idRaw ? { kind: 'lost', idRaw } : { kind: 'none' };
    const slot = Number(slotText);
    if (slot !== this.#parts.slot) return { kind: 'other-worker', slot, idRaw };
    const stream = instanceId === this.#instanceId ? this.#streams.get(number) : undefined;
    if (!stream || stream.random !== random) return lost;
    const after = Number.parseInt(seq, 36);
    if (stream.isFinalEvent(after)) return { kind: 'finished' };
    return stream.hasLostFinalEvent ? lost : { kind: 'stream', stream, after, isCall: stream.isCall };
  }

  /** Reserves bytes; when none are left, evicts streams of the key that holds most. */
  #reserveBytes(owner: string, amount: number): boolean {
    for (let tries = 0; ; tries += 1) {
      const taken = this.#bytes.take(owner, amount);
      if (taken !== 'full') return taken === 'taken';
      const { greediest } = this.#bytes;
      const oldest = greediest === undefined || greediest === owner ? undefined : this.#streams.oldestOf(greediest);
      if (!oldest || tries >= MAX_EVICTIONS) return false;
      this.#streams.delete(oldest[0]);
      oldest[1].evict();
    }
  }
}

/**
 * Returns the request id of an event id as JSON text without blanks. Clients control it: undefined when it is not
 * valid.
 */
function requestId(text: string): Buffer | undefined {
  const raw = Buffer.from(text, 'base64url');
  return isRequestId(raw) ? raw : undefined;
}

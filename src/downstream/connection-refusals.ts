/**
 * Refuses connections, and requests that Node has not handed over: answers, then closes in stages.
 * Guarantees: a client that is sending sees the answer; one that keeps its half open does not keep the connection; each
 * refusal is counted and recorded.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { RequestCounts } from '../runtime/request-counts.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { guardCallback } from './guarded-http.ts';
import { BUSY, type RawAnswer } from './raw-answer.ts';
import type { RefusalTraces } from './refusal-trace.ts';

/** Connections that get a 503 at the same time; others are closed without an answer. */
const BEING_REFUSED = 256;

export interface ConnectionRefusalsParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'discardMs'>;
  readonly counts: RequestCounts;
  readonly traces: Pick<RefusalTraces, 'unreadable'> | undefined;
}

export class ConnectionRefusals {
  readonly #parts: ConnectionRefusalsParts;
  readonly #refused = new Set<Socket>(); // bounded by: BEING_REFUSED

  constructor(parts: ConnectionRefusalsParts) {
    this.#parts = parts;
  }

  /** Answers 503. */
  refuse(socket: Socket): void {
    const { counts, traces } = this.#parts;
    traces?.unreadable(socket.remoteAddress ?? '', BUSY.refusal);
    if (this.#refused.size >= BEING_REFUSED) return void socket.destroy();
    counts.rejected += 1;
    this.#refused.add(socket);
    this.#answerAndClose(socket, BUSY.text(), () => this.#refused.delete(socket));
  }

  /** Answers a request that Node has not handed over, or whose body it could not read. `headers`: further headers. */
  refuseUnread(socket: Socket, answer: RawAnswer, headers?: Parameters<RawAnswer['text']>[0]): void {
    const { counts, traces } = this.#parts;
    counts.rejected += 1;
    traces?.unreadable(socket.remoteAddress ?? '', answer.refusal);
    this.#answerAndClose(socket, answer.text(headers ?? []));
  }

  #answerAndClose(socket: Socket, text: string, closed: () => void = () => {}): void {
    const { runtime, limits } = this.#parts;
    socket.end(text, 'latin1');
    const end = runtime.wheel.add(runtime.clock.nowMs() + limits.discardMs, () => socket.destroy());
    socket.once(
      'close',
      guardCallback(runtime, socket, () => {
        runtime.wheel.remove(end);
        closed();
      }),
    );
  }
}

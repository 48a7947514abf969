/**
 * Reads the body of one HTTP response in parts, one in each turn of the event loop, if it is large: events, and JSON
 * from 256 KiB.
 * Guarantees: its connection is paused meanwhile; what came before the end or a fault is read before `over` is called;
 * a small JSON body is read at once.
 */

import type { ResponseController } from '../../../net/egress.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { PacedReader } from '../paced-reader.ts';
import { AnswerBody, type AnswerBodyParts } from './answer-body.ts';

export interface PacedAnswerParts extends AnswerBodyParts {
  readonly runtime: Runtime;
  /** A part of a long message was read from data already received. */
  readonly alive: () => void;
  /** Everything received has been read. */
  readonly read: () => void;
  /**
   * Called once when the response has ended and all of it is read. `fault`: why it broke off; undefined for a normal
   * end.
   */
  readonly over: (fault: Error | undefined) => void;
}

export class PacedAnswer extends AnswerBody {
  readonly #parts: PacedAnswerParts;
  #reader: PacedReader | undefined;
  #isBetween = false;

  constructor(parts: PacedAnswerParts) {
    super(parts);
    this.#parts = parts;
  }

  /** True when the received data ends between two events and has been read. */
  get isBetween(): boolean {
    return this.#isBetween && this.kind === 'sse' && this.#reader?.isBusy !== true;
  }

  take(chunk: Buffer, controller: ResponseController): void {
    this.add(chunk);
    this.#isBetween = chunk[chunk.length - 1] === 0x0a && chunk[chunk.length - 2] === 0x0a;
    if (this.isUnread) this.#reading().run(controller);
    else this.#parts.read();
  }

  /** `isWanted`: read a JSON body. */
  finish(fault: Error | undefined, isWanted: boolean): void {
    if (fault === undefined && isWanted && this.kind !== 'sse') this.end();
    if (this.isUnread) this.#reading().end(fault);
    else this.#parts.over(fault);
  }

  /** Stops reading and calls nothing more. */
  cancel(): void {
    this.#reader?.cancel();
  }

  /** Created for what is read in steps. */
  #reading(): PacedReader {
    const { runtime, host, alive, read, over } = this.#parts;
    this.#reader ??= new PacedReader({
      runtime,
      server: host.server,
      read,
      ended: over,
      step: () => {
        const step = this.step();
        if (step === 'long') alive();
        return step;
      },
    });
    return this.#reader;
  }
}

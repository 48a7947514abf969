/**
 * The body of one HTTP answer, read a part in each turn of the event loop where it takes long: events, and JSON of 256 KiB or more.
 * Guarantees: its connection is paused meanwhile; what came before the end, or before a fault, is read before `over` is called; a small JSON body is read at once.
 */

import type { ResponseController } from '../../../net/egress.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import { PacedReader } from '../paced-reader.ts';
import { AnswerBody, type AnswerBodyParts } from './answer-body.ts';

export interface PacedAnswerParts extends AnswerBodyParts {
  readonly runtime: Runtime;
  /** A part of a long message has been read, of which no more needs to come. */
  readonly alive: () => void;
  /** All that has come is read. */
  readonly read: () => void;
  /** The answer is over, and all of it is read. Once. `fault` = why it broke off; undefined = its end has come. */
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

  /** What has come ends between two events, and is read: nothing of it is kept. */
  get isBetween(): boolean {
    return this.#isBetween && this.kind === 'sse' && this.#reader?.isBusy !== true;
  }

  take(chunk: Buffer, controller: ResponseController): void {
    this.add(chunk);
    this.#isBetween = chunk[chunk.length - 1] === 0x0a && chunk[chunk.length - 2] === 0x0a;
    if (this.isUnread) this.#reading().run(controller);
    else this.#parts.read();
  }

  /** `isWanted` = a JSON body is to be read. */
  finish(fault: Error | undefined, isWanted: boolean): void {
    if (fault === undefined && isWanted && this.kind !== 'sse') this.end();
    if (this.isUnread) this.#reading().end(fault);
    else this.#parts.over(fault);
  }

  /** Reads nothing more, and calls nothing. */
  cancel(): void {
    this.#reader?.cancel();
  }

  /** Made for what is read in steps. */
  #reading(): PacedReader {
    const { runtime, host, alive, read, over } = this.#parts;
    this.#reader ??= new PacedReader({
      ...{ runtime, server: host.server, read, ended: over },
      step: () => {
        const step = this.step();
        if (step === 'long') alive();
        return step;
      },
    });
    return this.#reader;
  }
}

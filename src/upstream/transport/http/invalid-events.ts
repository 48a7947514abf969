/**
 * Handles events of a shared stream that are no valid messages: each is skipped, the calls whose replies they should
 * have been end, and a line reports it at most once a second.
 */
import type { Limits } from '../../../config/limits.ts';
import type { Refusal } from '../../../model/outcome.ts';
import { brokenSteps } from '../../../protocol/broken-message.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { QuotedReplies } from '../../connection/quoted-replies.ts';

export interface InvalidEventsParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'batch'>;
  readonly quoted: QuotedReplies;
  /** Called for an event that should have been the answer to this request; undefined for an unknown one. */
  readonly unreadable: (id: number | undefined, why: Refusal, data: Buffer) => void;
  readonly said: (line: string) => void;
}

const SAY_AGAIN_MS = 1000;

export class InvalidEvents {
  readonly #parts: InvalidEventsParts;
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor(parts: InvalidEventsParts) {
    this.#parts = parts;
  }

  /** `data`: the event's; `why`: from the scanner. Takes steps of some milliseconds. */
  *take(data: Buffer, why: Refusal): Generator<void, void> {
    const { runtime, limits, quoted, unreadable, said } = this.#parts;
    const { isAnswer, ids } = yield* brokenSteps(data, limits.batch, quoted.may);
    for (const id of ids) unreadable(id, why, data);
    if (isAnswer && ids.length === 0) unreadable(undefined, why, data);
    const nowMs = runtime.clock.nowMs();
    if (nowMs - this.#saidMs < SAY_AGAIN_MS) return;
    this.#saidMs = nowMs;
    said(`sent an event of ${data.length} bytes that is not valid MCP: ${why.message}`);
  }
}

/**
 * Finds the pending request that a reply of the server ends.
 * Guarantees: late, duplicate and foreign answers match nothing; an answer without an id ends a request only when no
 * other can have been meant (`unowned-answers.ts`); an unusable answer ends its request at once.
 */
import type { HubError } from '../../model/errors.ts';
import { isNamelessError, replyFault } from '../../protocol/answer.ts';
import { filledResult } from '../../protocol/empty-result.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Correlator, RequestEntry } from './correlator.ts';
import { unusableAnswer } from './invalid-answer.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import type { RequestTable } from './request-table.ts';
import type { UnownedAnswers } from './unowned-answers.ts';

/** A longer error without an id is not kept until its request is known. */
const MOST_KEPT_BYTES = 65_536;

export interface ReplyMatcherParts {
  readonly server: string;
  readonly requests: RequestTable<RequestEntry>;
  readonly unowned: UnownedAnswers;
  readonly invalid: InvalidMessages;
  readonly correlator: Correlator;
}

export class ReplyMatcher {
  readonly #parts: ReplyMatcherParts;
  /** Position of the newest request that was answered. */
  #answered = 0;

  constructor(parts: ReplyMatcherParts) {
    this.#parts = parts;
  }

  /** Ends the request that this answers. */
  reply(envelope: Envelope): void {
    const { server, requests, unowned, correlator } = this.#parts;
    const { bytes, id } = envelope;
    const entry = correlator.entryAt(bytes, id);
    if (entry) return this.#take(entry, envelope);
    if (unowned.isFull || !this.#isAnswerOfPending(envelope)) return correlator.countUnmatched();
    if (bytes.length > MOST_KEPT_BYTES && requests.size > 1)
      return this.unreadable(unusableAnswer(server, 'it names no request', envelope));
    // Copied: the chunk that it came in may be large.
    const kept = requests.size === 1 ? envelope : { ...envelope, bytes: Buffer.from(bytes) };
    unowned.add(this.#pendingIds(), (owner) => {
      const found = requests.at(owner);
      if (found) this.#take(found, kept);
    });
  }

  /** An answer without a readable id came: the request that it must belong to ends with this fault. */
  unreadable(fault: HubError): void {
    const { unowned, invalid, correlator } = this.#parts;
    invalid.count('refused', fault.message);
    unowned.add(this.#pendingIds(), (id) => correlator.fail(id, fault));
  }

  #take(entry: RequestEntry, envelope: Envelope): void {
    const { server, correlator } = this.#parts;
    const { bytes, result, error } = envelope;
    const { pending } = entry;
    this.#answered = Math.max(this.#answered, entry.order);
    const why = replyFault(envelope);
    // The rows of a list are checked one by one.
    const isList = pending.plan.label === 'upstream-list' && envelope.fault !== undefined;
    if (why !== undefined && !isList) return correlator.failed(pending.id, unusableAnswer(server, why, envelope));
    pending.answered = true;
    if (result.at >= 0) pending.settle({ kind: 'result', json: filledResult(pending.plan.method, envelope) });
    else pending.settle({ kind: 'error', json: bytes.subarray(error.at, error.end) });
  }

  /**
   * Tells whether an error without an id answers a pending request. It may also answer a notification, as some servers
   * do, until a request that was sent after the last notification is answered.
   */
  #isAnswerOfPending(envelope: Envelope): boolean {
    const { lastAside } = this.#parts.correlator;
    return (lastAside === 0 || this.#answered > lastAside) && isNamelessError(envelope);
  }

  *#pendingIds(): Generator<number> {
    for (const { pending } of this.#parts.requests.values()) yield pending.id;
  }
}

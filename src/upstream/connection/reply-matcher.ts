/**
 * Finds the pending request that a reply of the server ends.
 * Guarantees: late, duplicate and foreign answers match nothing; an answer without an id ends a request only when no
 * other can have been meant (`unowned-answers.ts`); an unusable answer ends its request at once.
 */
import type { HubError } from '../../model/errors.ts';
import { isNamelessError, replyFault, replyNumber } from '../../protocol/answer.ts';
import { filledResult } from '../../protocol/empty-result.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Correlator, RequestEntry } from './correlator.ts';
import { unownedFault, unusableAnswer } from './invalid-answer.ts';
import type { InvalidMessages } from './invalid-messages.ts';
import type { RequestTable } from './request-table.ts';
import type { EndRequest, UnownedAnswers } from './unowned-answers.ts';

/** A longer error without an id is not kept until its request is known. */
const MOST_KEPT_BYTES = 65_536;
const NOTHING = Buffer.alloc(0);

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
    const { server, requests, correlator } = this.#parts;
    const { bytes, id } = envelope;
    const entry = correlator.entryAt(bytes, id);
    if (entry) return this.#take(entry, envelope);
    if (!isNamelessError(envelope)) return this.unmatched(replyNumber(bytes, id));
    if (bytes.length > MOST_KEPT_BYTES && requests.size > 1) return this.unreadable(unownedFault(server));
    const isKept = this.#addUnowned((mayBeOwn) => {
      // Copied: the chunk that it came in may be large.
      const kept = mayBeOwn ? { ...envelope, bytes: Buffer.from(bytes) } : undefined;
      return (owner, isOwn) => {
        const text = kept?.bytes.subarray(kept.error.at, kept.error.end) ?? NOTHING;
        const found = correlator.unowned(owner, text);
        if (isOwn && kept && found) this.#take(found.entry, kept, found.error);
        else correlator.failed(owner, unownedFault(server));
      };
    });
    if (!isKept) correlator.countUnmatched();
  }

  /** An answer without a readable id came: the request that it must belong to ends with this fault. */
  unreadable(fault: HubError): void {
    const { server, invalid, correlator } = this.#parts;
    invalid.count('refused', fault.message);
    this.#addUnowned(() => (id, isOwn) => {
      if (correlator.unowned(id, NOTHING)) correlator.fail(id, isOwn ? fault : unownedFault(server));
    });
  }

  /** An answer belongs to no pending request. `id`: the one that it names. */
  unmatched(id: number | undefined): void {
    const { unowned, correlator } = this.#parts;
    if (id !== undefined) unowned.late(id);
    correlator.countUnmatched();
  }

  #addUnowned(keep: (mayBeOwn: boolean) => EndRequest): boolean {
    const { unowned, correlator } = this.#parts;
    // Some servers answer notifications so, until a request that was sent after the last one is answered.
    const mayBeAside = correlator.lastAside !== 0 && this.#answered <= correlator.lastAside;
    const isDoubtful = mayBeAside || correlator.mayQuoteUnowned;
    return unowned.add({ pending: this.#pendingIds(), newest: correlator.lastRequest, isDoubtful, keep });
  }

  #take(entry: RequestEntry, envelope: Envelope, translated?: Buffer): void {
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
    else pending.settle({ kind: 'error', json: translated ?? bytes.subarray(error.at, error.end) });
  }

  *#pendingIds(): Generator<number> {
    const { requests, correlator } = this.#parts;
    for (const { pending } of requests.values()) if (correlator.isOwed(pending.id)) yield pending.id;
  }
}

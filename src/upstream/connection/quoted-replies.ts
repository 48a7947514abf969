/**
 * Tells whether messages of a server may quote its callers. A server that logs or returns what it receives repeats
 * replies that a client has put into its arguments, with ids of other callers' calls.
 * Guarantees: once a message that may contain such a reply was sent, `may` stays true, and `mayUnowned` for an
 * answer whose id cannot be read; at most 256 KiB of a message are searched.
 */

/** Every reply contains it. */
const WORD = Buffer.from('jsonrpc');
/** Every answer contains one of them, also where the quotes are escaped or a server writes others. */
const ANSWER_WORDS = ['"error', "'error", '"result', "'result"].map((word) => Buffer.from(word));
/** One of them as the name of a member, in JSON text or in a string that holds JSON text. */
const ANSWER_MEMBER = /["'](?:error|result)\\*["']/;
/** Escaped ASCII: a server that decodes it may write any of these. */
const ESCAPED_ASCII = Buffer.from('\\u00');
/** The beginning of the hub's own answers, with their member. */
const OWN_ANSWER = /^\{"jsonrpc":"2\.0","id":(?:\d+|"[^"\\]*"),"(?:result|error)":/;
/** A longer beginning counts as one of a caller. */
const OWN_BYTES = 256;
/** Escaped letters from `` ` `` to DEL: the server reads them as the same word. */
const ESCAPES = [Buffer.from('\\u006'), Buffer.from('\\u007')] as const;
/** Behind the word of the message itself. */
const FROM = '{"jsonrpc"'.length;
/** A longer message counts as one that contains it. */
const LOOKED_BYTES = 256 * 1024;

export class QuotedReplies {
  #may = false;
  #mayUnowned = false;

  get may(): boolean {
    return this.#may;
  }

  /** The same for answers whose id cannot be read, which may lack the protocol's name. */
  get mayUnowned(): boolean {
    return this.#may || this.#mayUnowned;
  }

  /** Checks a message of the hub (`write.ts`), which begins with `{"jsonrpc"`. */
  sent(frame: Buffer): void {
    this.#mayUnowned ||= mayHoldAnswer(frame);
    this.#may ||=
      frame.length > LOOKED_BYTES || frame.includes(WORD, FROM) || ESCAPES.some((one) => frame.includes(one, FROM));
  }
}

function mayHoldAnswer(frame: Buffer): boolean {
  if (frame.includes(ESCAPED_ASCII, FROM)) return true;
  if (!ANSWER_WORDS.some((word) => frame.includes(word, FROM))) return false;
  const own = OWN_ANSWER.exec(frame.toString('latin1', 0, OWN_BYTES))?.[0].length ?? FROM;
  return ANSWER_MEMBER.test(frame.toString('latin1', own, LOOKED_BYTES));
}

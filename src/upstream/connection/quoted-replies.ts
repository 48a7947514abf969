/**
 * Tells whether messages of a server may quote its callers. A server that logs or returns what it receives repeats
 * replies that a client has put into its arguments, with ids of other callers' calls.
 * Guarantees: once a message that may contain such a reply was sent, `may` stays true, and `mayError` for an error; at
 * most 256 KiB of a message are searched.
 */

/** Every reply contains it. */
const WORD = Buffer.from('jsonrpc');
/** Every error contains it, also where its quotes are escaped. */
const ERROR = Buffer.from('"error');
/** The name of a member, in JSON text or in a string that holds JSON text. */
const ERROR_MEMBER = /"error\\*"(?:\s|\\+[nrt])*:/;
/** Escaped letters from `` ` `` to DEL: the server reads them as the same word. */
const ESCAPES = [Buffer.from('\\u006'), Buffer.from('\\u007')] as const;
/** Behind the word of the message itself. */
const FROM = '{"jsonrpc"'.length;
/** A longer message counts as one that contains it. */
const LOOKED_BYTES = 256 * 1024;

export class QuotedReplies {
  #may = false;
  #mayError = false;

  get may(): boolean {
    return this.#may;
  }

  /** The same for errors, which may lack the protocol's name. */
  get mayError(): boolean {
    return this.#may || this.#mayError;
  }

  /** Checks a message of the hub (`write.ts`), which begins with `{"jsonrpc"`. */
  sent(frame: Buffer): void {
    this.#mayError ||= frame.includes(ERROR, FROM) && ERROR_MEMBER.test(frame.toString('latin1', FROM, LOOKED_BYTES));
    this.#may ||=
      frame.length > LOOKED_BYTES || frame.includes(WORD, FROM) || ESCAPES.some((one) => frame.includes(one, FROM));
  }
}

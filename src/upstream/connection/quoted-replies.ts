/**
 * Whether what a server writes may quote its callers: one that logs what it is sent, or answers with it, repeats replies that a client has put into
 * its arguments, with ids of other callers' calls.
 * Guarantees: once something was sent on a connection that may hold such a reply, `may` stays true; at most 256 KiB of a message are looked through.
 */

/** Each reply has it. */
const WORD = Buffer.from('jsonrpc');
/** Letters from `` ` `` to DEL in another spelling: the server reads them as the same word. */
const ESCAPES = [Buffer.from('\\u006'), Buffer.from('\\u007')] as const;
/** Behind the word of the message itself. */
const FROM = '{"jsonrpc"'.length;
/** A longer message counts as one that has it. */
const LOOKED_BYTES = 256 * 1024;

export class QuotedReplies {
  #may = false;

  get may(): boolean {
    return this.#may;
  }

  /** A message of the hub (`write.ts`), which begins with `{"jsonrpc"`. */
  sent(frame: Buffer): void {
    this.#may ||=
      frame.length > LOOKED_BYTES || frame.includes(WORD, FROM) || ESCAPES.some((one) => frame.includes(one, FROM));
  }
}

/**
 * A JSON-RPC message as it lies in its bytes: where the id, the method, the params and the result are, without parsing what nobody looks at.
 * Promises: spans are byte offsets into `bytes` of complete JSON values; what lies inside them stays as it was sent.
 * Does not: find the spans (`scan.ts`) or write messages (`write.ts`).
 */

/** `at` is −1 when the member is absent; `end` is exclusive. */
export interface Span {
  readonly at: number;
  readonly end: number;
}

export const ABSENT: Span = { at: -1, end: -1 };

export type MessageKind = 'request' | 'notification' | 'reply';

/** One message. A `reply` has `result` or `error`; a request has `id` and `method`. */
export interface Envelope {
  /** The text of exactly this one JSON object (may be a slice of a larger buffer). */
  readonly bytes: Buffer;
  readonly kind: MessageKind;
  /** Empty for a reply. */
  readonly method: string;
  /** Raw JSON text of the id lies here: a string or a number (or null in an error reply). */
  readonly id: Span;
  readonly params: Span;
  readonly result: Span;
  readonly error: Span;
  /** Where the members of params lie, four numbers each: key from and to, value from and to. Undefined = not looked at; walk over them. */
  readonly inParams: readonly number[] | undefined;
  /** Where the empty members of a server's result lie, four numbers each as above. Undefined = it has none, or it was not looked at. */
  readonly emptyInResult?: readonly number[] | undefined;
  /** The same for members of a server's result that hold a null or an empty array inside of them. */
  readonly emptyInsideResult?: readonly number[] | undefined;
  /** Why the text of a server's message must not reach a client, although its members can be told apart: it is no valid JSON, or too deep. */
  readonly fault?: string;
  /** The setting that allows what the fault names; absent = none does. */
  readonly faultSetting?: string;
  /** What was wrong with the text and has been replaced in `bytes`; absent = they are as they came. */
  readonly repaired?: string;
}

/** The params of a message, and what is known of their members. */
export type Params = Pick<Envelope, 'bytes' | 'params' | 'inParams'>;

/** What a caller that wants to hear of progress says in `_meta`. */
export interface Progress {
  /** Raw JSON text of `_meta.progressToken`, or undefined. */
  readonly progressToken: string | undefined;
  /** Span of that value, or `ABSENT`. */
  readonly progressTokenSpan: Span;
}

/** What tools/call, prompts/get, resources/read and completion/complete carry in their params. Absent members have `ABSENT`. */
export interface CallParams extends Progress {
  /** Decoded name, or URI. */
  readonly name: string;
  /** Span of its JSON string, quotes included. */
  readonly nameSpan: Span;
  readonly argumentsSpan: Span;
  readonly metaSpan: Span;
}

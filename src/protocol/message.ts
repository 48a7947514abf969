/**
 * A JSON-RPC message as raw bytes with the positions of its id, method, params and result. `scan.ts` reads messages,
 * `write.ts` writes them.
 * Guarantees: spans are byte offsets into `bytes` and enclose complete JSON values; what they enclose is unchanged.
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
  /** The text of exactly one JSON object; may be a slice of a larger buffer. */
  readonly bytes: Buffer;
  readonly kind: MessageKind;
  /** Empty for a reply. */
  readonly method: string;
  /** Span of the raw JSON text of the id: a string or a number (or null in an error reply). */
  readonly id: Span;
  readonly params: Span;
  readonly result: Span;
  readonly error: Span;
  /**
   * Positions of the members of params, four numbers each: start and end of key and of value. Undefined when they were
   * not recorded and must be searched.
   */
  readonly inParams: readonly number[] | undefined;
  /**
   * Positions of the empty members of a server's result, four numbers each as above. Undefined when it has none or was
   * not inspected.
   */
  readonly emptyInResult?: readonly number[] | undefined;
  /** Positions of members of a server's result that contain a null or an empty array. */
  readonly emptyInsideResult?: readonly number[] | undefined;
  /**
   * Why a server's message must not be passed to a client although its members are known: invalid JSON, or nested too
   * deeply.
   */
  readonly fault?: string;
  /** The setting that allows what the fault names; absent when there is none. */
  readonly faultSetting?: string;
  /** What was invalid and has been replaced in `bytes`; absent when the bytes are unchanged. */
  readonly repaired?: string;
}

/** The params of a message, and the recorded positions of their members. */
export type Params = Pick<Envelope, 'bytes' | 'params' | 'inParams'>;

/** The progress token of a caller that wants progress notifications. */
export interface Progress {
  /** Raw JSON text of `_meta.progressToken`, or undefined. */
  readonly progressToken: string | undefined;
  /** Span of that value, or `ABSENT`. */
  readonly progressTokenSpan: Span;
}

/** The params of tools/call, prompts/get, resources/read and completion/complete. Missing members have `ABSENT`. */
export interface CallParams extends Progress {
  /** The decoded name or URI. */
  readonly name: string;
  /** Span of its JSON string, including the quotes. */
  readonly nameSpan: Span;
  readonly argumentsSpan: Span;
  readonly metaSpan: Span;
}

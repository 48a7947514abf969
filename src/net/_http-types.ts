/**
 * What a request out is made of, and how its sender hears of the answer: the words between `egress.ts`, its pool and its users.
 * Does not: do anything.
 */

/** Names in lower case; a field that came several times is a list. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** One request that was dispatched. */
export interface ResponseController {
  readonly aborted: boolean;
  readonly paused: boolean;
  /**
   * Ends it at once, also while it waits for a connection: its place is free when this returns, a connection that carries it is destroyed,
   * and `onResponseError` has been called with `reason`. Nothing happens once it is over.
   */
  abort(reason: Error): void;
  /** The server is not read on (one read, 64 KiB at most, may be held); nothing is handed on until `resume`. */
  pause(): void;
  resume(): void;
}

/** Hears what becomes of a request: one of `onResponseEnd` and `onResponseError`, once, and nothing after it. */
export interface ResponseHandler {
  /** It is about to be written: from here on the server may have got it. */
  onRequestStart(controller: ResponseController): void;
  /** Status line and headers of the answer; interim answers (1xx) are not told. */
  onResponseStart(controller: ResponseController, status: number, headers: ResponseHeaders): void;
  /** A piece of the body, the handler's to keep. */
  onResponseData(controller: ResponseController, chunk: Buffer): void;
  onResponseEnd(controller: ResponseController): void;
  /** `fault` = the reason of `abort`, a HubError, what the socket reported, or what a method above threw. */
  onResponseError(controller: ResponseController, fault: Error): void;
}

export interface EgressRequest {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  /** From `EgressPool.pathOf`. */
  readonly path: string;
  /** Name, value, name, value …; legal values only (`header-value.ts`), no framing. The array does not change once it was given. */
  readonly headers: readonly string[];
  readonly body: Buffer | null;
}

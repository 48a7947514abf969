/** Types of outgoing requests and of the handlers of their responses, shared by `egress.ts`, its pool and its users. */

/** Names in lower case; a repeated field is a list. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Controls one request that was dispatched. */
export interface ResponseController {
  readonly aborted: boolean;
  readonly paused: boolean;
  /**
   * Aborts the request at once, also while it waits for a connection. When this returns, its place is free, its
   * connection is destroyed and `onResponseError` was called with `reason`. Has no effect after the end.
   */
  abort(reason: Error): void;
  /** Stops reading from the server (at most one read of 64 KiB is held); nothing is passed on until `resume`. */
  pause(): void;
  resume(): void;
}

/** Receives the events of a request. `onResponseEnd` or `onResponseError` is called once, and nothing after it. */
export interface ResponseHandler {
  /** The request is about to be written: from now on the server may receive it. */
  onRequestStart(controller: ResponseController): void;
  /** Status and headers of the response; interim responses (1xx) are skipped. */
  onResponseStart(controller: ResponseController, status: number, headers: ResponseHeaders): void;
  /** A piece of the body; the handler owns it. */
  onResponseData(controller: ResponseController, chunk: Buffer): void;
  onResponseEnd(controller: ResponseController): void;
  /** `fault` is the reason of `abort`, a HubError, the error of the socket, or what one of the methods above threw. */
  onResponseError(controller: ResponseController, fault: Error): void;
}

export interface EgressRequest {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  /** Comes from `EgressPool.pathOf`. */
  readonly path: string;
  /**
   * Name, value, name, value …; valid values only (`header-value.ts`), no framing fields. Must not be modified
   * afterwards.
   */
  readonly headers: readonly string[];
  readonly body: Buffer | null;
}

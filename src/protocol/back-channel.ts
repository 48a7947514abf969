/**
 * How a server's progress, logs and (later) questions reach the one client call that caused them.
 * Promises: made once per call; after the call is answered it swallows what comes late.
 * Does not: know streams or HTTP. `downstream/` implements it; `upstream/` only speaks to this interface.
 */
export interface BackChannel {
  /** The client's progress token as raw JSON text (given back unchanged in value and type); undefined = it wants no progress. */
  readonly progressToken: string | undefined;
  /** Sends a notification that belongs to this call. `params` is complete JSON text, already with the client's own token in it. */
  notify(method: string, params: Buffer): void;
}

/** For calls that nobody listens to (lists, pings, the hub's own questions). */
export const SILENT_BACK_CHANNEL: BackChannel = { progressToken: undefined, notify: () => {} };

/**
 * What the fault server (`fault-http.ts`) can be told to do, what it has seen, and the state its parts share.
 */
import type { ServerResponse } from 'node:http';

export interface FaultHttpFlags {
  /** 0 or absent = a free port. */
  port?: number;
  /** Default 127.0.0.1. */
  host?: string;
  /** How requests are answered; default json. */
  answer?: 'json' | 'sse';
  /** false = never gives a session id. */
  session?: boolean;
  /** Methods that the answer faults below hit; '*' = all. Default ['tools/call']. */
  faultMethods?: readonly string[];
  /** Accepts and never answers. */
  silent?: boolean;
  /** Headers, then one space every so many ms, for ever. */
  trickleMs?: number;
  /** Forgets every session after it has answered so many requests in it (404, once per session). */
  forgetAfter?: number;
  /**
   * 400 with a JSON-RPC error and id null instead of 404 for an unknown session (as servers made from the SDK's example
   * do).
   */
  forgetWith400?: boolean;
  /** Answers with this status and an empty body (401, 403, 429, 500 …). */
  status?: number;
  /** 302 to itself. */
  redirectLoop?: boolean;
  /** 302 to this address. */
  redirectTo?: string;
  /** 502 with an HTML page of so many bytes. */
  badGatewayBytes?: number;
  /** 400 with a JSON-RPC error that carries the request's own id. */
  rpcErrorStatus?: number;
  /** A result of so many bytes (300 MiB: 314572800), written as fast as it is read. */
  hugeBytes?: number;
  /** Of `hugeBytes`: after so many it goes silent and keeps the connection. */
  stallAfterBytes?: number;
  /** 200 application/json that is not JSON. */
  garbage?: boolean;
  /** 200 text/html. */
  html?: boolean;
  /** Answers with another id. */
  wrongId?: boolean;
  /** Answers twice (SSE) or with an array of the same reply twice (JSON). */
  duplicate?: boolean;
  /** Waits so many ms before it answers initialize. */
  slowInitMs?: number;
  /** SSE that ends before the reply. */
  endsEarly?: boolean;
  /** SSE that sends a comment every so many ms and never the reply. */
  dripMs?: number;
  /** SSE that gives the reply and then stays open. */
  lingers?: boolean;
  /** Destroys the socket in the middle of the answer. */
  cuts?: boolean;
  /** Destroys the socket of the next so many requests before any byte of an answer (a stale keep-alive connection). */
  resets?: number;
  /** tools/list always has a next page. */
  endlessCursor?: boolean;
  /** Tools listed besides the five. */
  extraTools?: number;
  /** Hears every message that comes. */
  heard?: (message: Message) => void;
  /** Hears every tool run that is carried out: a call in a session that is unknown is heard, and is none. */
  executed?: (message: Message) => void;
  /** Closes idle sockets after so many ms (Node's own: 5000). */
  idleCloseMs?: number;
  /** Sends the Keep-Alive hint; default true. */
  idleHint?: boolean;
  /** Never answers the POST of notifications/initialized. */
  swallowInitialized?: boolean;
  /** Answers notifications only after so many ms. */
  notificationMs?: number;
  swallowDelete?: boolean;
  /** What GET does: a stream (default), 405, a stream that ends at once, 503, nothing. */
  get?: 'stream' | 'none' | 'ends' | 'fails' | 'silent';
  /** Answers GET only after so many ms. */
  getMs?: number;
  /** `retry:` sent on the GET stream, ms. */
  retryMs?: number;
  /** notifications/tools/list_changed per second on each GET stream. */
  storm?: number;
}

export interface FaultHttpSeen {
  requests: number;
  /** By method: 'tools/call', 'GET', 'DELETE' … */
  byMethod: Record<string, number>;
  /** Tool runs that were carried out. */
  executions: number;
  /** Requests whose answer is not finished. */
  open: number;
  /** Exchanges that the client closed before the answer was finished. */
  closes: number;
  /** Sessions alive. */
  sessions: number;
  sockets: number;
  socketsOpen: number;
  getStreams: number;
  getOpened: number;
  /** Answer bytes handed to the socket of `hugeBytes` and `badGatewayBytes`. */
  bytes: number;
  /** Headers of the last POST. */
  lastHeaders: Record<string, string | string[] | undefined>;
  /** Methods in order of arrival (the last 1,000). */
  order: string[];
}

export interface Message {
  /** The whole message as it came. */
  readonly raw?: string;
  readonly id?: number | string | null;
  readonly method?: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Record<string, unknown>;
    readonly _meta?: { progressToken?: unknown };
  };
}

export interface State {
  readonly flags: FaultHttpFlags;
  readonly seen: FaultHttpSeen;
  readonly sessions: Map<string, number>;
  readonly timers: Set<NodeJS.Timeout>;
  /** GET streams that are open. */
  readonly streams: Set<ServerResponse>;
  next: number;
}

export function emptySeen(): FaultHttpSeen {
  return {
    requests: 0,
    byMethod: {},
    executions: 0,
    open: 0,
    closes: 0,
    sessions: 0,
    sockets: 0,
    socketsOpen: 0,
    getStreams: 0,
    getOpened: 0,
    bytes: 0,
    lastHeaders: {},
    order: [],
  };
}

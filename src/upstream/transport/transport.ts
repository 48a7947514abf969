/**
 * How bytes travel to one server: the interface of `transports/*` towards `link.ts`. A transport moves whole JSON-RPC messages; the link
 * correlates them.
 * Promises asked of every transport: `send` never waits and never queues without a bound; `start` and `stop` end by their deadline;
 * events come in order; after `closed` no event follows; each file of `transports/` lists the sockets and processes it owns.
 * Does not: know MCP methods beyond what its wire demands (HTTP: session id, version header).
 */

import type { HubError } from '../../model/errors.ts';
import type { LinkPhase } from '../../model/events.ts';
import type { Outcome } from '../../model/outcome.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { ParamHeader } from '../../protocol/era-2026/param-headers.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { LeftSession } from '../single-session/session-memory.ts';

export interface TransportEvents {
  /** A message came. `exchange` = the id of the request on whose own stream it came (HTTP), undefined where the wire cannot tell (stdio, GET stream). */
  message(envelope: Envelope, exchange: number | undefined): void;
  /** The exchange of request `id` ended without its reply; nothing more comes for it. */
  failed(id: number, fault: HubError): void;
  /** A message came that would have been an answer; neither it nor its id can be read. */
  unreadable(fault: HubError): void;
  /** A sign of life: bytes for exchange `id`, or of the server as a whole (stderr, CPU) when undefined. */
  alive(id: number | undefined): void;
  /** Start has entered a phase (install, start, connect); a promise = wait for it before you go on: others have their turn first. */
  phase(phase: LinkPhase): void | Promise<void>;
  /**
   * An answer that a server gives to a session it does not know (HTTP 404, or 400 with −32000), or to one request that it does not like. `id` = the
   * request that met it, `fault` = what it ends with if the session is good.
   */
  sessionLost(id: number | undefined, fault: HubError): void;
  /** The whole transport is gone (process exit, stream end). Comes once. */
  closed(fault: HubError): void;
  /** A line of the server's stderr, already capped, without control characters. */
  said(line: string): void;
  /** How this server wants to be spoken to, found out by the hub: a short sentence for the operator, without texts of the server. Remembered until the connection ends. */
  learned(note: string): void;
  /** Whether the server answers a question now tells why a request waits: it is to be asked one, beside the calls. */
  question(): void;
}

/** The sessions of a shared connection's server, over the lives of this hub's processes. */
export interface SessionHold {
  /** The connection has one open. */
  readonly isOpen: boolean;
  /** Returns those that other processes have opened and not ended. Never rejects. */
  left(deadline: Deadline): Promise<readonly LeftSession[]>;
  /** Ends them at the server. True = at least one is not there any more. Never rejects; ends by the deadline. */
  end(left: readonly LeftSession[], deadline: Deadline): Promise<boolean>;
  /** What the server has answered to initialize in the open session. */
  known(hello: InitializeResult): void;
  /**
   * Takes over a session that is left: requests are sent in it from now on. Returns the first id that a request in it may have; undefined = another worker has
   * it. Never rejects; ends by the deadline.
   */
  take(left: LeftSession, deadline: Deadline): Promise<number | undefined>;
  /** The server does not know the open session: it is forgotten, on disk too. Never rejects; ends by the deadline. */
  drop(deadline: Deadline): Promise<void>;
}

/** What a tool wants repeated in headers. */
export type DeclaredHeaders = (tool: string) => readonly ParamHeader[];

export interface Transport {
  /** Opens it: spawns the process, resolves the name. Rejects with a HubError that names the phase. */
  start(deadline: Deadline): Promise<void>;
  /**
   * Sends one complete JSON message. `id` = the numeric request id in it, undefined for a notification or a reply.
   * `share` = the key that it is sent for, which only another worker needs to know.
   * Refuses (`upstream-stuck`, `server-down`) instead of queueing without bound.
   */
  send(frame: Buffer, id: number | undefined, deadline: Deadline, share?: string): Outcome<void>;
  /**
   * Closes the exchange of request `id` at the wire (HTTP: destroys its request), or takes the request back while it waits to be written. Returns false when
   * the server has not got a byte of it and will not: then there is nothing to be cancelled. True = it may have it.
   */
  abort(id: number): boolean;
  /**
   * After initialize: what the wire needs to know (HTTP: version header; the session id it has seen itself). Undefined = nothing is, yet.
   * `declared` = of the tools of a stateless server.
   */
  negotiated(version: string | undefined, declared?: DeclaredHeaders): void;
  /** Before initialize: the version that its headers name; undefined = none. Absent = the wire has no headers. */
  announce?(version: string | undefined): void;
  /** Ends the session here: the next request is sent without one. Nothing happens where the wire has none. */
  forgetSession(): void;
  /** Absent = the wire has no sessions, or the connection is not shared. */
  readonly session?: SessionHold | undefined;
  /** What the server calls its question with this id (raw JSON text); absent = it gives them no names. */
  questionKey?(idRaw: string): string | undefined;
  /** CPU time used so far by the server's process group in ms, or undefined where it cannot be known. Synchronous and cheap is not required: called at most once in 2.5 s per silent call. */
  cpuMs(): number | undefined;
  /** When the figure of `cpuMs` was read, ms on the kernel's clock; undefined or absent = never. */
  cpuReadMs(): number | undefined;
  /** Last lines of stderr, oldest first, and the last line of stdout that was no message. */
  stderrTail(): readonly string[];
  /** What the operator should know when a start takes too long: the last lines of output, or where the connection leads. Sentences. */
  signs?(): readonly string[];
  /** Returns the fault of an opening with what the transport finds out about it, or as it is. Never rejects; ends by the deadline. */
  explained?(fault: unknown, deadline: Deadline): Promise<unknown>;
  /** Ends it: HTTP DELETE of the session, or stdin EOF → SIGTERM → SIGKILL of the process group. Never rejects; always ends by the deadline. */
  stop(deadline: Deadline): Promise<void>;
}

/**
 * The interface of every transport to `link.ts`. A transport moves whole JSON-RPC messages; the link correlates them.
 * Guarantees: `send` never waits and never queues without a limit; `start` and `stop` end by their deadline; events
 * come in order, none after `closed`. It knows no MCP methods beyond what its wire needs (HTTP: session id, version
 * header).
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
  /**
   * A message came. `exchange`: id of the request on whose stream it came (HTTP); undefined if unknown (stdio, GET
   * stream).
   */
  message(envelope: Envelope, exchange: number | undefined): void;
  /** The exchange of request `id` ended without its reply; nothing more comes for it. */
  failed(id: number, fault: HubError): void;
  /** A message that should be an answer is invalid, and its id cannot be read. */
  unreadable(fault: HubError): void;
  /** An answer was dropped, because no request can have been meant. `id`: of the ended request that it names. */
  unmatched(id?: number): void;
  /** A sign of life: bytes for exchange `id`, or of the server as a whole (stderr, CPU) when undefined. */
  alive(id: number | undefined): void;
  /** Start has entered a phase (install, start, connect). If it returns a promise, wait for it before you continue. */
  phase(phase: LinkPhase): void | Promise<void>;
  /**
   * A response that a server gives for an unknown session (HTTP 404, or 400 with −32000), or to one request that it
   * rejects. `id`: that request; `fault`: how it ends if the session is valid.
   */
  sessionLost(id: number | undefined, fault: HubError): void;
  /** The whole transport has ended (process exit, end of stream). Called once. */
  closed(fault: HubError): void;
  /** A line of the server's stderr, already limited, without control characters. */
  said(line: string): void;
  /**
   * The hub has learned something about this server's protocol: a short sentence for the operator, without texts of the
   * server. Kept until the connection ends.
   */
  learned(note: string): void;
  /** Requests a probe beside the calls, whose answer shows why a request waits. */
  question(): void;
}

/** The sessions of a shared connection's server, across restarts of this hub's processes. */
export interface SessionHold {
  /** True when the connection has an open one. */
  readonly isOpen: boolean;
  /** Returns those that other processes have opened and not ended. Never rejects. */
  left(deadline: Deadline): Promise<readonly LeftSession[]>;
  /** Ends them at the server. Resolves to true when at least one has ended. Never rejects; ends by the deadline. */
  end(left: readonly LeftSession[], deadline: Deadline): Promise<boolean>;
  /** Records the initialize result of the open session. */
  known(hello: InitializeResult): void;
  /**
   * Continues a session that was left: requests are sent in it from now on. Returns the first id that a request in it
   * may have; undefined when another worker has it. Never rejects; ends by the deadline.
   */
  take(left: LeftSession, deadline: Deadline): Promise<number | undefined>;
  /**
   * Forgets the open session, on disk too, because the server does not know it. Never rejects; ends by the deadline.
   */
  drop(deadline: Deadline): Promise<void>;
  /** Stops using the open session; any process may take it over. Never rejects; ends by the deadline. */
  giveUp(deadline: Deadline): Promise<void>;
}

/** Returns the headers that a tool requires. */
export type DeclaredHeaders = (tool: string) => readonly ParamHeader[];

export interface Transport {
  /** Opens it: starts the process, resolves the name. Rejects with a HubError that names the phase. */
  start(deadline: Deadline): Promise<void>;
  /**
   * Sends one complete JSON message. `id`: its numeric request id; undefined for a notification or a reply. `share`:
   * the key that it is sent for, used only between workers. Returns `upstream-stuck` or `server-down` instead of
   * queueing without a limit.
   */
  send(frame: Buffer, id: number | undefined, deadline: Deadline, share?: string): Outcome<void>;
  /**
   * Closes the exchange of request `id` on the wire (HTTP: destroys its request), or removes it while it waits to be
   * written. Returns false when the server cannot have received any of it, so that no cancel is needed; true when it
   * may have.
   */
  abort(id: number): boolean;
  /** A caller may have made the server write an answer that names no request. Default: false. */
  readonly mayQuoteUnowned?: boolean;
  /** Tells whether the server has to answer request `id`, which is pending. Default: true. */
  isOwed?(id: number): boolean;
  /**
   * Request `id` ends by an answer that names no request. Returns the JSON text of its `error` as other answers have
   * it. Absent when the transport translates nothing.
   */
  unowned?(id: number, error: Buffer): Buffer;
  /**
   * Called after initialize with what the wire needs (HTTP: version header; it has seen the session id itself).
   * Undefined when nothing is negotiated yet. `declared`: the headers of tools of a stateless server.
   */
  negotiated(version: string | undefined, declared?: DeclaredHeaders): void;
  /** Sets the version in headers before initialize; undefined for none. Absent when the wire has no headers. */
  announce?(version: string | undefined): void;
  /** Ends the use of the session: the next request is sent without one. Does nothing when the wire has no sessions. */
  forgetSession(): void;
  /** Absent when the wire has no sessions, or the connection is not shared. */
  readonly session?: SessionHold | undefined;
  /** Returns the server's own name for its request with this id (raw JSON text); absent when there are none. */
  questionKey?(idRaw: string): string | undefined;
  /**
   * Returns CPU time used by the server's process group in ms; undefined if it cannot be known. Called at most once in
   * 2.5 s for each silent call.
   */
  cpuMs(): number | undefined;
  /** When the value of `cpuMs` was read, monotonic ms; undefined or absent for never. */
  cpuReadMs(): number | undefined;
  /** Returns the last lines of stderr, oldest first, and the last line of stdout that was no message. */
  stderrTail(): readonly string[];
  /** Returns sentences for the operator when a start takes too long: the last lines of output, or the address. */
  signs?(): readonly string[];
  /** Returns the fault of an opening, with what the transport knows about it. Never rejects; ends by the deadline. */
  explained?(fault: unknown, deadline: Deadline): Promise<unknown>;
  /**
   * Stops it: HTTP DELETE of the session, or stdin EOF → SIGTERM → SIGKILL of the process group. Never rejects; ends by
   * the deadline.
   */
  stop(deadline: Deadline): Promise<void>;
}

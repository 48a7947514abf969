/**
 * The status of one link as plain data, for health, `_meta` of lists, the admin API and the CLI.
 */
import type { ErrorCode } from '../model/errors.ts';
import type { LinkPhase, LinkState } from '../model/events.ts';
import type { UnreadList } from '../model/snapshot.ts';
import type { CallFailure } from './call-outcomes.ts';

export interface ServerStatus {
  readonly server: string;
  readonly name: string;
  readonly transport: 'stdio' | 'http' | 'sse' | 'forward';
  /** `waiting` also when the circuit breaker of a connected server is open. */
  readonly state: LinkState | 'disabled';
  readonly phase: LinkPhase | undefined;
  /** Why it is not ready, in one sentence for the operator; may quote stderr, paths and addresses. */
  readonly cause: string | undefined;
  /** The same for clients, in the hub's own words. */
  readonly publicCause: string | undefined;
  /** Names the failure in the log and in `servers logs`. */
  readonly reference: string | undefined;
  readonly code: ErrorCode | undefined;
  /** Time in this state, ms. */
  readonly sinceMs: number;
  /** Time until the next attempt, ms, while waiting. */
  readonly retryMs: number | undefined;
  readonly tools: number;
  readonly prompts: number;
  readonly resources: number;
  readonly templates: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly calls: number;
  readonly failures: number;
  readonly restarts: number;
  /** How often in a row its process has exited early; undefined when it is not in a crash loop. */
  readonly crashLoop: number | undefined;
  readonly pid: number | undefined;
  readonly serverInfo: string | undefined;
  readonly protocolVersion: string | undefined;
  readonly silenceMs: number;
  /** Lists that could not be read completely; undefined when there are none, or it is not ready. */
  readonly unread: readonly UnreadNote[] | undefined;
  /** True when it declares no tools, prompts or resources; undefined when it does, or is not ready. */
  readonly declaresNothing: true | undefined;
  /** True when no cancels are sent, because they have ended its process. */
  readonly withholdsCancels: true | undefined;
  /** Messages of its connection that belonged to no pending request, or came too fast; undefined = none. */
  readonly unmatched: number | undefined;
  /** What the hub has found out about how this server wants to be spoken to; undefined = nothing. */
  readonly notes: readonly string[] | undefined;
  /** The last call that failed at this server, for the operator; may quote the server. */
  readonly lastFailure: LastFailure | undefined;
}

/** For the operator: `why` may quote the server. */
export type UnreadNote = Omit<UnreadList, 'late'>;

export interface LastFailure extends Omit<CallFailure, 'atMs'> {
  /** Time since then, ms. */
  readonly agoMs: number;
}

/** What a client may read of the status of a server in its view. */
export type PublicStatus = Pick<ServerStatus, (typeof PUBLIC_MEMBERS)[number]> & { readonly cause: string | undefined };

const PUBLIC_MEMBERS = [
  'server',
  'name',
  'state',
  'phase',
  'code',
  'reference',
  'sinceMs',
  'retryMs',
  'tools',
  'prompts',
  'resources',
  'templates',
  'crashLoop',
  'silenceMs',
] as const;

/** Returns the members that a client may read; `cause` is in the hub's own words. */
export function publicStatus(status: ServerStatus): PublicStatus {
  const shown = Object.fromEntries(PUBLIC_MEMBERS.map((member) => [member, status[member]]));
  return { ...shown, cause: status.publicCause } as PublicStatus;
}

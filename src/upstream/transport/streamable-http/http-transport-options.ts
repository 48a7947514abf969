/** The dependencies of a Streamable HTTP transport. */
import type { Limits } from '../../../config/limits.ts';
import type { HttpSpec, ServerSpec } from '../../../model/snapshot.ts';
import type { Egress } from '../../../net/egress.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import type { Runtime } from '../../../runtime/runtime.ts';
import type { TransportEvents } from '../transport.ts';
import type { RememberedAs } from './held-session.ts';

/**
 * A program that the hub runs and that listens at the URL (`launch` in the configuration). Its creator reports its exit
 * to `events.closed`.
 */
export interface LaunchedServer {
  /** Starts it; resolves with its port. */
  start(deadline: Deadline): Promise<{ readonly port: number }>;
  /** Never rejects; ends by the deadline. */
  stop(deadline: Deadline): Promise<void>;
  cpuMs(): number | undefined;
  cpuReadMs(): number | undefined;
  stderrTail(): readonly string[];
}

export interface HttpTransportOptions {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly http: HttpSpec;
  readonly egress: Egress;
  readonly events: TransportEvents;
  readonly launched: LaunchedServer | undefined;
  /** Set for a shared connection; absent when its sessions end with it, as those of a launched server do. */
  readonly remembered?: RememberedAs | undefined;
}

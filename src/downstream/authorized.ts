/**
 * A caller whose key has been checked from the headers of its request. Only `authorize` makes one, and reading a body demands one, so that no
 * path reads, parses or forwards a body for a caller whom nobody has identified.
 */
import type { Caller, Visit } from '../call/call.ts';
import type { Line } from '../call/line.ts';
import { isRefusal, type Outcome } from '../kernel/outcome.ts';

export class Authorized {
  readonly caller: Caller;
  readonly visit: Visit;

  private constructor(caller: Caller, visit: Visit) {
    this.caller = caller;
    this.visit = visit;
  }

  /** Identifies the sender of a request by its headers; a refusal says why it may not use this path. */
  static from(line: Pick<Line, 'identify'>, visit: Visit): Outcome<Authorized> {
    const caller = line.identify(visit);
    return isRefusal(caller) ? caller : new Authorized(caller, visit);
  }
}

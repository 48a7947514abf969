/**
 * A caller whose key has been checked from the headers of its request. Only `authorize` makes one, and reading a body demands one, so that no
 * path reads, parses or forwards a body for a caller whom nobody has identified.
 */
import type { Caller, RequestContext } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';

export class Authorized {
  readonly caller: Caller;
  readonly context: RequestContext;

  private constructor(caller: Caller, context: RequestContext) {
    this.caller = caller;
    this.context = context;
  }

  /** Identifies the sender of a request by its headers; a refusal says why it may not use this path. */
  static from(pipeline: Pick<RequestPipeline, 'identify'>, context: RequestContext): Outcome<Authorized> {
    const caller = pipeline.identify(context);
    return isRefusal(caller) ? caller : new Authorized(caller, context);
  }
}

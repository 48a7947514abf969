/**
 * A caller whose key was checked from the headers of its request. Only `authorize` creates one, and reading a body
 * requires one, so that no body of an unidentified caller is read, parsed or forwarded.
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

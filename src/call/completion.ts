/**
 * completion/complete: passes the request to the server of the prompt or template.
 * Guarantees: a server without completions gets no request; the result is then empty.
 */
import type { Target } from '../catalog/route.ts';
import type { View } from '../catalog/view.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { scanRefParams } from '../protocol/scan.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { FirstListing } from './first-listing.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { unknownPrompt } from './prompt.ts';
import { resolveView } from './resolve-view.ts';
import { notFound, type ResourceNames, withRoute } from './resource.ts';

const NO_VALUES: Reply = { kind: 'result', json: Buffer.from('{"completion":{"values":[],"hasMore":false}}') };

export function createCompletion(
  send: Dispatch,
  firstListing: FirstListing,
  names: ResourceNames,
  catalog: PipelineParts['catalog'],
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  return function complete(call) {
    const params = scanRefParams(call.envelope);
    if (isRefusal(params)) return params;
    const { name, of } = params;
    const go = (target: Target): Outcome<Reply> | Promise<Outcome<Reply>> => {
      // A name that arrived late is in a newer view than the call's.
      const view = resolveView(catalog, call.viewName) ?? call.view;
      return view.declares(target.server, 'completions') ? send(call, { params, target }) : NO_VALUES;
    };
    if (of === 'resource')
      return withRoute(names.template(name, call), call, (target) => (target ? go(target) : notFound(name)));
    const target = call.view.promptRoute(name);
    if (target) return go(target);
    const unknown = unknownPrompt(name, call.view);
    const routeIn = (view: View) => view.promptRoute(name);
    const late = firstListing.routeTo(name, call, { kind: 'prompt', routeIn }, unknown);
    return late?.then((route) => (isRefusal(route) ? route : go(route))) ?? unknown;
  };
}

/**
 * prompts/get: resolves the exposed name to the server's own prompt, as tools/call does.
 */
import { suggestion } from '../catalog/closest-name.ts';
import type { View } from '../catalog/view.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { scanCallParams } from '../protocol/scan.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { FirstListing } from './first-listing.ts';

export function createPromptGet(
  send: Dispatch,
  firstListing: FirstListing,
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  return function getPrompt(call) {
    const params = scanCallParams(call.envelope);
    if (isRefusal(params)) return params;
    const target = call.view.promptRoute(params.name);
    if (target) return send(call, { params, target });
    const unknown = unknownPrompt(params.name, call.view);
    const routeIn = (view: View) => view.promptRoute(params.name);
    const late = firstListing.routeTo(params.name, call, { kind: 'prompt', routeIn }, unknown);
    return late?.then((found) => (isRefusal(found) ? found : send(call, { params, target: found }))) ?? unknown;
  };
}

export function unknownPrompt(name: string, view: View): Refusal {
  const hint = suggestion(name, view.closestPrompt(name));
  return new Refusal('unknown-prompt', `Unknown prompt: ${name.slice(0, 100)}${hint}`);
}

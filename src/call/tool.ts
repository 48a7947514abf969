/**
 * tools/call: resolves the exposed name to the server's own tool. Arguments and result are passed on unchanged.
 * Guarantees: only the name selects the server; `dispatch.ts` does the rest.
 */

import { suggestion } from '../catalog/closest-name.ts';
import type { Route, View } from '../catalog/view.ts';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { refuseParamHeaders } from '../protocol/era-2026/param-headers.ts';
import type { CallParams } from '../protocol/message.ts';
import { withoutMembers } from '../protocol/meta.ts';
import { scanCallParams } from '../protocol/scan.ts';
import { soleMember } from '../protocol/sole-member.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { FirstListing } from './first-listing.ts';

export function createToolCall(
  send: Dispatch,
  firstListing: FirstListing,
  limits: Pick<Limits, 'paramsBytes'>,
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  function callRoute(call: Call, params: CallParams, route: Route): Outcome<Reply> | Promise<Outcome<Reply>> {
    const refusal = refuseSize(params, route, limits) ?? refuseHeaders(call, params, route);
    if (refusal) return refusal;
    const shape = route.dropStructured ? withoutOddStructured : undefined;
    return send(call, { params, target: route, tool: route.native, shape });
  }

  return function callTool(call) {
    const params = scanCallParams(call.envelope);
    if (isRefusal(params)) return params;
    const route = call.view.route(params.name);
    if (route) return callRoute(call, params, route);
    const unknown = unknownTool(params.name, call.view);
    const routeIn = (view: View) => view.route(params.name);
    const late = firstListing.routeTo(params.name, call, { kind: 'tool', routeIn }, unknown);
    return late?.then((found) => (isRefusal(found) ? found : callRoute(call, params, found))) ?? unknown;
  };
}

function unknownTool(name: string, view: View): Refusal {
  const hint = suggestion(name, view.closestTool(name));
  return new Refusal('unknown-tool', `Unknown tool: ${name.slice(0, 100)}${hint}`);
}

/** Arguments that are repeated in headers are read for each header, and must be small. */
function refuseSize(
  { argumentsSpan }: CallParams,
  { paramHeaders }: Route,
  { paramsBytes }: Pick<Limits, 'paramsBytes'>,
): Refusal | undefined {
  if (paramHeaders.length === 0 || argumentsSpan.end - argumentsSpan.at <= paramsBytes) return undefined;
  const why = `The arguments of a tool that repeats some of them in headers have at most ${paramsBytes} bytes.`;
  return new Refusal('invalid-params', why, { setting: 'paramsBytes' });
}

/** Refuses headers that contradict the body: an intermediary may have relied on them. */
function refuseHeaders({ envelope, incoming }: Call, { argumentsSpan }: CallParams, route: Route): Refusal | undefined {
  if (!incoming.requestMeta || route.paramHeaders.length === 0) return undefined;
  const { at, end } = argumentsSpan;
  const args: unknown = at < 0 ? {} : JSON.parse(envelope.bytes.toString('utf8', at, end));
  return refuseParamHeaders(route.paramHeaders, args, (name) => incoming.header?.(name));
}

/**
 * Removes structuredContent that is no object, which a tool with another outputSchema may send: clients would reject
 * the call.
 */
function withoutOddStructured(json: Buffer): Buffer {
  // If the member occurs twice, clients would read the other one.
  const { at } = soleMember(json, { at: 0, end: json.length }, STRUCTURED);
  return at >= 0 && json[at] === OPEN_OBJECT ? json : withoutMembers(json, [STRUCTURED]);
}
const STRUCTURED = 'structuredContent';
const OPEN_OBJECT = 0x7b;

/**
 * tools/call: from the exposed name to the server's own tool and back. Arguments and result travel as the bytes they were.
 * Promises: the name decides the server and nothing else does; the client's progress token and id come back unchanged; a call without
 * a session ends upstream when its client goes away, one with a session goes on (2025 era: a disconnect is not a cancel).
 * Does not: wait by itself; `fleet.call` holds every budget.
 */

import type { Route } from '../catalog/view.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import type { BackChannel } from '../protocol/back-channel.ts';
import { memberSpan, scanCallParams } from '../protocol/scan.ts';
import { callParamsFor, replaceSpans } from '../protocol/write.ts';
import type { UpstreamReply } from '../upstream/call.ts';
import type { Call, Reply } from './call.ts';
import type { Cancels } from './cancel.ts';
import { createFirstListing } from './first-listing.ts';
import type { LineRooms } from './rooms.ts';

type CallParams = Exclude<ReturnType<typeof scanCallParams>, Refusal>;

export function createToolCall(
  rooms: LineRooms,
  cancels: Cancels,
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  const { kernel, fleet } = rooms;
  const firstListing = createFirstListing(rooms);

  function callRoute(call: Call, params: CallParams, route: Route): Outcome<Reply> | Promise<Outcome<Reply>> {
    const { envelope, incoming, session, principal } = call;
    const times = fleet.timesOf(route.server, route.native);
    const deadline = kernel.deadline(times.totalMs);
    const slot = session ? cancels.remember({ owner: session.id, rawId: rawIdOf(call), deadline }) : -1;
    if (!session) incoming.onGone(() => deadline.end('client-gone'));
    const back = backOf(incoming.back, params.progressToken);
    const outcome = fleet.call(route.server, {
      method: 'tools/call',
      params: (token) =>
        callParamsFor(
          envelope.bytes,
          envelope.params,
          params,
          route.nativeJson,
          back.progressToken === undefined ? undefined : token,
        ),
      times,
      deadline,
      back,
      fairKey: principal.family,
      owner: call.requestId,
    });
    const finish = (answer: Outcome<UpstreamReply>): Outcome<Reply> => {
      deadline[Symbol.dispose]();
      cancels.forget(slot);
      return isRefusal(answer) ? answer : replyFrom(answer, route);
    };
    return outcome instanceof Promise ? outcome.then(finish) : finish(outcome);
  }

  return function callTool(call) {
    const { envelope } = call;
    if (envelope.params.at < 0) return new Refusal('invalid-params', 'tools/call needs params with a name.');
    const params = scanCallParams(envelope.bytes, envelope.params);
    if (isRefusal(params)) return params;
    const route = call.view.route(params.name);
    if (route) return callRoute(call, params, route);
    const late = firstListing.routeTo(params.name, call);
    if (!late) return new Refusal('unknown-tool', `Unknown tool: ${params.name.slice(0, 100)}`);
    return late.then((found) => (isRefusal(found) ? found : callRoute(call, params, found)));
  };
}

function rawIdOf(call: Call): string {
  const { bytes, id } = call.envelope;
  return bytes.toString('utf8', id.at, id.end);
}

/** The exchange's channel with this call's own token. */
function backOf(back: BackChannel, progressToken: string | undefined): BackChannel {
  return { progressToken, notify: (method, params) => back.notify(method, params) };
}

function replyFrom(answer: UpstreamReply, route: Route): Reply {
  const note = { server: route.server, tool: route.native };
  if (answer.kind === 'error') return { kind: 'error', json: answer.json, note };
  return { kind: 'result', json: route.dropStructured ? withoutStructured(answer.json) : answer.json, note };
}

/** A tool whose outputSchema was not legal for these clients must not send structuredContent either: they would reject the call. */
function withoutStructured(json: Buffer): Buffer {
  const span = memberSpan(json, { at: 0, end: json.length }, 'structuredContent');
  return span.at < 0 ? json : replaceSpans(json, [{ at: span.at, end: span.end, with: Buffer.from('{}') }]);
}

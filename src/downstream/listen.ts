/**
 * The stream of subscriptions/listen (specification 2026-07-28, subscriptions): an acknowledgement at once, then
 * notifications, each with the id of its subscription. `call/listen.ts` decides what is granted.
 * Guarantees: the acknowledgement is the first message; nothing is sent that was not requested; when the hub ends it,
 * it ends with a result, so that the client can tell it from a lost connection.
 */
import type { ServerResponse } from 'node:http';
import type { Honoured, Listening } from '../call/listen.ts';
import { isRefusal } from '../model/outcome.ts';
import { completeResult, subscriptionParams } from '../protocol/era-2026/results.ts';
import { memberSpan, stringAt } from '../protocol/scan.ts';
import { notificationFrame, refusalFrame, replaceSpans, resultFrame } from '../protocol/write.ts';
import type { Access } from '../runtime/open-item.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Sessions } from '../session/sessions.ts';
import { writeRefusal } from './http-answer.ts';
import type { Streams } from './streams.ts';

export interface ListenParts {
  readonly runtime: Runtime;
  readonly sessions: Sessions;
  readonly streams: Streams;
}

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
const UPDATED = 'notifications/resources/updated';
const FLAG_OF: Readonly<Record<string, keyof Honoured>> = {
  'notifications/tools/list_changed': 'toolsListChanged',
  'notifications/prompts/list_changed': 'promptsListChanged',
  'notifications/resources/list_changed': 'resourcesListChanged',
  [UPDATED]: 'resourceSubscriptions',
};
const METHOD_BYTES = 100;
const SPACE = 0x20;
const CLOSE = 0x7d;

export function openListen(
  { response, owner, access }: { readonly response: ServerResponse; readonly owner: string; readonly access: Access },
  idRaw: Buffer,
  { session, honoured }: Listening,
  { runtime, sessions, streams }: ListenParts,
): void {
  const openedMs = runtime.clock.nowMs();
  const { shortId } = session;
  const stream = streams.open(response, { owner, access }, (reason) => {
    sessions.endEphemeral(session);
    const ms = Math.round(runtime.clock.nowMs() - openedMs);
    runtime.bus.publish({ type: 'stream-closed', session: shortId, reason, ms });
  });
  if (isRefusal(stream)) {
    sessions.endEphemeral(session);
    return writeRefusal(response, stream, idRaw);
  }
  runtime.bus.publish({ type: 'stream-opened', session: shortId });
  stream.send(notificationFrame(ACKNOWLEDGED, subscriptionParams(idRaw, { notifications: honoured })));
  const result = completeResult('subscriptions/listen', subscriptionParams(idRaw));
  stream.sendAtEnd(resultFrame(idRaw, result));
  stream.sendWhenRevoked((why) => refusalFrame(idRaw, why));
  if (Object.keys(honoured).length === 0) return stream.close('nothing-to-hear');
  sessions.attach(session, {
    send(message) {
      if (stream.over) return false;
      const frame = frameFor(message, idRaw, honoured);
      return frame === undefined || stream.send(frame);
    },
    close: (reason) => stream.close(reason),
  });
}

/** Returns undefined when it was not requested. */
function frameFor(message: Buffer, idRaw: Buffer, honoured: Honoured): Buffer | undefined {
  const whole = { at: 0, end: message.length };
  const method = stringAt(message, memberSpan(message, whole, 'method'), METHOD_BYTES) ?? '';
  const flag = Object.hasOwn(FLAG_OF, method) ? FLAG_OF[method] : undefined;
  if (flag === undefined || honoured[flag] === undefined) return undefined;
  const params = memberSpan(message, whole, 'params');
  const meta = subscriptionParams(idRaw);
  if (params.at < 0 || isEmptyObject(message, params.at)) return notificationFrame(method, meta);
  const rest = message.subarray(params.at + 1, params.end);
  // A server's own `_meta` is replaced: it concerns another hop.
  const own = memberSpan(message, params, '_meta');
  const text =
    own.at < 0
      ? Buffer.concat([meta.subarray(0, -1), Buffer.from(','), rest])
      : replaceSpans(message.subarray(params.at, params.end), [
          { at: own.at - params.at, end: own.end - params.at, with: meta.subarray('{"_meta":'.length, -1) },
        ]);
  return notificationFrame(method, text);
}

function isEmptyObject(json: Buffer, at: number): boolean {
  let next = at + 1;
  while ((json[next] ?? CLOSE) <= SPACE) next += 1;
  return json[next] === CLOSE;
}

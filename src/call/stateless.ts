/**
 * A call of the stateless era: the methods that it has, and its results in its own shape. What a call does is the same in both eras.
 * Promises: nothing of the session era is served here, whatever the hub could do (404 −32601); every result says what kind it is; a server's
 * own codes that mean something else in this era are translated.
 * Does not: read the claim (`protocol/era-2026/request-meta.ts`) or hold streams (`downstream/listen.ts`).
 * Source: protocol.md §1.4, §1.5 (column M→L).
 */
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { completeHead, completeResult } from '../protocol/era-2026/results.ts';
import { memberSpan } from '../protocol/scan.ts';
import { replaceSpans } from '../protocol/write.ts';
import type { Call, Reply } from './call.ts';
import { mayAsk, type SuspendedCalls } from './suspended-calls.ts';

const SERVED: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'tools/call',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'completion/complete',
  // No methods of any date; some clients open with them.
  'offerings/list',
  'capabilities',
  'capabilities/list',
]);
/** A legacy server's own "resource not found". */
const NOT_FOUND = -32002;
/** Codes that SDKs of the 2025 dates made up, and that have other meanings now, or none. */
const SDK_CODES = { from: -32042, to: -32000 } as const;
const INVALID_PARAMS = Buffer.from('-32602');
const INTERNAL = Buffer.from('-32603');

type Answered = Outcome<Reply> | Promise<Outcome<Reply>>;

/** `dispatch` does the work, as for any other era. */
export function answerStateless(call: Call, dispatch: (call: Call) => Answered, parking: SuspendedCalls): Answered {
  const { method, kind } = call.envelope;
  // A client cancels by closing its request; there is nothing else that it could tell.
  if (kind !== 'request') return { kind: 'accepted' };
  if (!SERVED.has(method)) return new Refusal('method-not-in-era', `Unknown method: ${method.slice(0, 100)}`);
  const work = (one: Call): Answered => {
    const outcome = dispatch(one);
    return outcome instanceof Promise ? outcome.then((late) => shaped(method, late)) : shaped(method, outcome);
  };
  return mayAsk(method) ? parking.answer(call, work) : work(call);
}

function shaped(method: string, outcome: Outcome<Reply>): Outcome<Reply> {
  if (isRefusal(outcome))
    return outcome.code === 'resource-not-found'
      ? new Refusal('invalid-params', outcome.message, outcome.detail)
      : outcome;
  if (outcome.kind === 'result') return complete(method, outcome);
  return outcome.kind === 'error' ? { ...outcome, json: translated(outcome.json) } : outcome;
}

function complete(method: string, reply: Extract<Reply, { kind: 'result' }>): Reply {
  const { around } = reply;
  if (!around) return { ...reply, json: completeResult(method, reply.json) };
  return { ...reply, around: { ...around, head: completeHead(method, around.head) } };
}

/** The server's sentence and data stay. `json` = an error object. */
function translated(json: Buffer): Buffer {
  const whole = { at: 0, end: json.length };
  const span = memberSpan(json, whole, 'code');
  const code = span.at < 0 ? Number.NaN : Number(json.toString('utf8', span.at, span.end));
  if (!(code >= SDK_CODES.from && code <= SDK_CODES.to)) return json;
  return replaceSpans(json, [{ ...span, with: code === NOT_FOUND ? INVALID_PARAMS : INTERNAL }]);
}

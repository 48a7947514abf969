/**
 * A call of the stateless era: its methods, and its form of results. `protocol/era-2026/request-meta.ts` reads the
 * metadata.
 * Guarantees: methods of the session era are not served (404 −32601); every result names its type; server error codes
 * that have another meaning in this era are translated.
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
  // These methods belong to no version; some clients send them first.
  'offerings/list',
  'capabilities',
  'capabilities/list',
]);
/** The code of servers of the 2025 era for "resource not found". */
const NOT_FOUND = -32002;
/** Codes of SDKs of the 2025 era that now have another meaning, or none. */
const SDK_CODES = { from: -32042, to: -32000 } as const;
const INVALID_PARAMS = Buffer.from('-32602');
const INTERNAL = Buffer.from('-32603');

type Answered = Outcome<Reply> | Promise<Outcome<Reply>>;

/** `dispatch` does the work, as for the other era. */
export function answerStateless(
  call: Call,
  dispatch: (call: Call) => Answered,
  suspendedCalls: SuspendedCalls,
): Answered {
  const { method, kind } = call.envelope;
  // A client cancels by closing its request; other notifications have no meaning.
  if (kind !== 'request') return { kind: 'accepted' };
  if (!SERVED.has(method)) return new Refusal('method-not-in-era', `Unknown method: ${method.slice(0, 100)}`);
  const work = (one: Call): Answered => {
    const outcome = dispatch(one);
    return outcome instanceof Promise ? outcome.then((late) => shaped(method, late)) : shaped(method, outcome);
  };
  return mayAsk(method) ? suspendedCalls.answer(call, work) : work(call);
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

/** Keeps the server's message and data. `json`: an error object. */
function translated(json: Buffer): Buffer {
  const whole = { at: 0, end: json.length };
  const span = memberSpan(json, whole, 'code');
  const code = span.at < 0 ? Number.NaN : Number(json.toString('utf8', span.at, span.end));
  if (!(code >= SDK_CODES.from && code <= SDK_CODES.to)) return json;
  return replaceSpans(json, [{ ...span, with: code === NOT_FOUND ? INVALID_PARAMS : INTERNAL }]);
}

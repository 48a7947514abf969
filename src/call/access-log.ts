/**
 * The access log: one event for each request. A call has three distinct failures: the hub refused, the server answered
 * with an error, or the tool returned `isError`. A request that was refused before it became a call is passed to its
 * back channel, which knows client and path.
 */
import { isOperatorOnly } from '../model/errors.ts';
import { isRefusal, type Outcome, type Refusal } from '../model/outcome.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Call, Incoming, Reply } from './call.ts';

const IS_ERROR = Buffer.from('"isError":true');
/**
 * A tool's error is short; the flag is searched only at the end of the result, so that a large answer costs nothing.
 */
const TAIL_BYTES = 2048;
/** Longest method name in the record, in characters. */
const METHOD_CHARS = 100;

export interface AccessLog {
  /** Records a request that became no call. Returns its refusal. */
  refused(incoming: Incoming, refusal: Refusal): Refusal;
  /** Records the end of a call. Notifications and replies get no answer, and no event. */
  answered(call: Call, outcome: Outcome<Reply>): void;
}

export function createAccessLog(runtime: Pick<Runtime, 'bus' | 'clock'>): AccessLog {
  return {
    refused({ back }, refusal) {
      back.refused?.(refusal);
      return refusal;
    },
    answered: (call, outcome) => answered(runtime, call, outcome),
  };
}

function answered(runtime: Pick<Runtime, 'bus' | 'clock'>, call: Call, outcome: Outcome<Reply>): void {
  if (call.envelope.kind !== 'request') return;
  const refused = isRefusal(outcome);
  const note = refused || outcome.kind === 'accepted' ? undefined : outcome.note;
  const { method } = call.envelope;
  // Spreading optional members would cost as much as all the rest.
  runtime.bus.publish({
    type: 'call-answered',
    requestId: call.requestId,
    method: method.length > METHOD_CHARS ? method.slice(0, METHOD_CHARS) : method,
    user: call.principal.userName,
    ms: runtime.clock.nowMs() - call.startMs,
    bytes: refused ? 0 : bytesOf(outcome),
    outcome: refused ? 'refused' : outcomeOf(outcome),
    code: refused ? outcome.code : undefined,
    server: refused ? outcome.detail.server : note?.server,
    tool: refused ? toolIn(outcome) : note?.tool,
    why: refused && isOperatorOnly(outcome.code) ? outcome.message : undefined,
    reference: refused ? outcome.detail.reference : undefined,
  });
}

function bytesOf(reply: Reply): number {
  if (reply.kind === 'accepted') return 0;
  const around = reply.kind === 'result' ? reply.around : undefined;
  return reply.json.length + (around ? around.head.length + around.tail.length : 0);
}

function toolIn({ detail }: Refusal): string | undefined {
  const tool = detail.operator?.tool;
  return typeof tool === 'string' ? tool : undefined;
}

function outcomeOf(reply: Reply): 'ok' | 'tool-error' | 'error' {
  if (reply.kind !== 'result') return reply.kind === 'error' ? 'error' : 'ok';
  if (reply.note?.tool === undefined) return 'ok';
  return reply.json.subarray(Math.max(0, reply.json.length - TAIL_BYTES)).includes(IS_ERROR) ? 'tool-error' : 'ok';
}

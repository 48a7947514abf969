/** Builds the JSON-RPC message that answers a request, under its id, for streams and batches. */
import type { Reply } from '../call/call.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import type { Envelope } from '../protocol/message.ts';
import { refusalFrame } from '../protocol/write.ts';

const RESULT_HEAD = Buffer.from('{"jsonrpc":"2.0","id":');
const RESULT_MEMBER = Buffer.from(',"result":');
const ERROR_MEMBER = Buffer.from(',"error":');
const TAIL = Buffer.from('}');
const NOTHING = Buffer.alloc(0);

type Answered = Exclude<Reply, { readonly kind: 'accepted' }>;

/** Returns the message that carries `reply` under the id `idRaw`. */
export function replyFrame(idRaw: Buffer, reply: Answered): Buffer {
  if (reply.kind === 'error') return Buffer.concat([RESULT_HEAD, idRaw, ERROR_MEMBER, reply.json, TAIL]);
  const { head = NOTHING, tail = NOTHING } = reply.around ?? {};
  return Buffer.concat([RESULT_HEAD, idRaw, RESULT_MEMBER, head, reply.json, tail, TAIL]);
}

/** Tells whether the client has cancelled the request: then nothing may be sent under its id. */
export function isUnanswered(outcome: Outcome<Reply>): boolean {
  return isRefusal(outcome) && outcome.code === 'cancelled';
}

/** Returns one answer of a batch as text; undefined when there is none. */
export function batchPiece(envelope: Envelope, outcome: Outcome<Reply>): Buffer | undefined {
  if (envelope.kind !== 'request' || isUnanswered(outcome)) return undefined;
  const idRaw = envelope.bytes.subarray(envelope.id.at, envelope.id.end);
  if (isRefusal(outcome)) return refusalFrame(idRaw, outcome);
  if (outcome.kind === 'accepted') return undefined;
  return replyFrame(idRaw, outcome);
}

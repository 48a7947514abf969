/**
 * What a stateless server says, in the words of the 2025 dates, where it is more than a change of shape: notices, and answers that cannot go on.
 */
import { isRefusal } from '../../model/outcome.ts';
import { replyFault } from '../../protocol/answer.ts';
import { neutralParams } from '../../protocol/era-2026/outgoing.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import type { Envelope } from '../../protocol/message.ts';
import { scanEnvelope } from '../../protocol/scan.ts';
import { errorFrame, notificationFrame, resultFrame } from '../../protocol/write.ts';

export const SCAN = { maxDepth: 4096, maxIdBytes: 256, strict: false } as const;
/** Params of a notice above this are not rewritten. */
const NEUTRAL_BYTES = 1024 * 1024;
export const ASKS =
  'The server asks its user before it goes on, and nobody can be asked: mark it "interactive", and use a client that declares what it asks for.';

export function translateNotification(envelope: Envelope): Envelope {
  const { bytes, params, method } = envelope;
  // Of a large one (`noticeBytes`) and of an invalid one nothing is passed on.
  if (envelope.fault !== undefined || params.at < 0 || params.end - params.at > NEUTRAL_BYTES) return envelope;
  const text = bytes.subarray(params.at, params.end);
  const neutral = neutralParams(text);
  if (neutral === text) return envelope;
  const notice = scanEnvelope(notificationFrame(method, neutral), SCAN);
  return isRefusal(notice) ? envelope : notice;
}

/** Why the answer to this method cannot be understood; undefined = it can. The rows of a list are judged one by one later. */
export function answerFault(envelope: Envelope, method: string | undefined): string | undefined {
  const isList = method?.endsWith('/list') === true && envelope.fault !== undefined;
  return isList ? undefined : replyFault(envelope);
}

/** A call that cannot go on ends in the words of its method. */
export function endFrame(idRaw: Buffer, method: string, why: string): Buffer {
  if (method !== 'tools/call') return errorFrame(idRaw, { code: -32603, message: why });
  return resultFrame(idRaw, jsonBytes({ content: [{ type: 'text', text: why }], isError: true }));
}

export function asksBack(type: string): string {
  return type === 'input_required'
    ? ASKS
    : `The server’s answer is of a kind that this hub does not know: ${type.slice(0, 60)}.`;
}

/** A frame of the hub's own as a message; undefined = what it was made of is none. */
export function envelopeOf(frame: Buffer): Envelope | undefined {
  const envelope = scanEnvelope(frame, SCAN);
  return isRefusal(envelope) ? undefined : envelope;
}

/** `made`, with the repair of the message that it was made from. */
export function withRepair(made: Envelope, { repaired }: Envelope): Envelope {
  return repaired === undefined ? made : { ...made, repaired };
}

/**
 * Translates messages of a stateless server to the 2025 era: notifications, and answers of calls that cannot continue.
 */
import { isRefusal } from '../../model/outcome.ts';
import { replyFault } from '../../protocol/answer.ts';
import { neutralParams } from '../../protocol/era-2026/outgoing.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import type { Envelope } from '../../protocol/message.ts';
import { scanEnvelope } from '../../protocol/scan.ts';
import { errorFrame, notificationFrame, resultFrame } from '../../protocol/write.ts';

export const SCAN = { maxDepth: 4096, maxIdBytes: 256, strict: false } as const;
/** Larger params of a notification are not rewritten, bytes. */
const NEUTRAL_BYTES = 1024 * 1024;
export const ASKS =
  'The server needs an answer of the user to continue, and the client cannot provide one: ' +
  'set "interactive": true for the server, and use a client that declares the capability.';

export function translateNotification(envelope: Envelope): Envelope {
  const { bytes, params, method } = envelope;
  // Large (`noticeBytes`) and invalid ones are not passed on.
  if (envelope.fault !== undefined || params.at < 0 || params.end - params.at > NEUTRAL_BYTES) return envelope;
  const text = bytes.subarray(params.at, params.end);
  const neutral = neutralParams(text);
  if (neutral === text) return envelope;
  const notice = scanEnvelope(notificationFrame(method, neutral), SCAN);
  return isRefusal(notice) ? envelope : notice;
}

/**
 * Returns why the answer to this method is invalid; undefined when it is valid. The rows of a list are checked one by
 * one later.
 */
export function answerFault(envelope: Envelope, method: string | undefined): string | undefined {
  const isList = method?.endsWith('/list') === true && envelope.fault !== undefined;
  return isList ? undefined : replyFault(envelope);
}

/** Ends a call that cannot continue, in the form of its method. */
export function endFrame(idRaw: Buffer, method: string, why: string): Buffer {
  if (method !== 'tools/call') return errorFrame(idRaw, { code: -32603, message: why });
  return resultFrame(idRaw, jsonBytes({ content: [{ type: 'text', text: why }], isError: true }));
}

export function asksBack(type: string): string {
  return type === 'input_required'
    ? ASKS
    : `The server’s answer is of a kind that this hub does not know: ${type.slice(0, 60)}.`;
}

/** Returns a frame of the hub's own as a message; undefined when its source is invalid. */
export function envelopeOf(frame: Buffer): Envelope | undefined {
  const envelope = scanEnvelope(frame, SCAN);
  return isRefusal(envelope) ? undefined : envelope;
}

/** Returns `made`, with the repair of the message that it was built from. */
export function withRepair(made: Envelope, { repaired }: Envelope): Envelope {
  return repaired === undefined ? made : { ...made, repaired };
}

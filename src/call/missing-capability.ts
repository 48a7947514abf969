/**
 * Handles −32021: a stateless server refuses a call because its client lacks a capability: the caller's, or the hub's,
 * which declares no capabilities to a server that is not marked `interactive`.
 * Guarantees: a stateless caller without the capability gets the same error with its HTTP status; other callers get a
 * text, as a tool result for tools, because the 2025 era has no such code.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { missingCapability } from '../protocol/era-2026/missing-capability.ts';
import type { RequestMeta } from '../protocol/era-2026/request-meta.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import type { Reply, ReplyNote } from './call.ts';

const NOBODY = 'This server cannot send requests to users through the hub; set "interactive": true for it.';
const INTERNAL = -32603;

/** `json`: a server's error object. Returns undefined when it is another error. */
export function answerMissingCapability(
  json: Buffer,
  requestMeta: RequestMeta | undefined,
  note: ReplyNote,
): Outcome<Reply> | undefined {
  const lack = missingCapability(json);
  if (!lack) return undefined;
  const { bits, required, message } = lack;
  const isOwn = requestMeta !== undefined && (bits & ~requestMeta.capabilityBits) !== 0;
  const { server } = note;
  if (isOwn) return new Refusal('capability-missing', message || undefined, { server, requiredCapabilities: required });
  const wanted = `It needs a client that declares ${JSON.stringify(required).slice(0, 500)}.`;
  const text = [message, wanted, ...(requestMeta ? [NOBODY] : [])].filter((part) => part !== '').join(' ');
  if (note.tool === undefined) return { kind: 'error', json: asJson({ code: INTERNAL, message: text }), note };
  return { kind: 'result', json: asJson({ content: [{ type: 'text', text }], isError: true }), note };
}

function asJson(value: object): Buffer {
  return jsonBytes(value);
}

/**
 * Tells whether an answer to tools/call says that the server has no such tool: then the hub's list is outdated.
 */
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import type { UpstreamReply } from '../call.ts';

/** Longer results have other reasons, bytes. */
const SHORT_BYTES = 1024;
const CODES: ReadonlySet<number> = new Set([-32601, -32602]);
/** The texts of the official libraries, and of others that follow them. */
const WORDS =
  /unknown tool|no such tool|tool [^"]{1,200} (?:not found|is not (?:known|available|registered))|tool not found/i;
const IS_ERROR = Buffer.from('"isError":true');

/**
 * Also recognises results with `isError`, the form of newer libraries. For other results it costs a search of a short
 * text.
 */
export function saysUnknownTool({ kind, json }: UpstreamReply): boolean {
  if (json.length > SHORT_BYTES) return false;
  if (kind === 'error' ? !CODES.has(errorCode(json)) : json.indexOf(IS_ERROR) < 0) return false;
  return WORDS.test(json.toString('utf8'));
}

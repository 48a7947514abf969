/**
 * Whether an answer to tools/call says that the server has no such tool: then its list is not the one that the hub knows.
 */
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import type { UpstreamReply } from '../call.ts';

/** Longer results say something else. */
const SHORT_BYTES = 1024;
const CODES: ReadonlySet<number> = new Set([-32601, -32602]);
/** As the official libraries say it, and those that were made after them. */
const WORDS =
  /unknown tool|no such tool|tool [^"]{1,200} (?:not found|is not (?:known|available|registered))|tool not found/i;
const IS_ERROR = Buffer.from('"isError":true');

/** Also of results with `isError`, the form of newer libraries. Costs a search of a short text for results that are none. */
export function saysUnknownTool({ kind, json }: UpstreamReply): boolean {
  if (json.length > SHORT_BYTES) return false;
  if (kind === 'error' ? !CODES.has(errorCode(json)) : json.indexOf(IS_ERROR) < 0) return false;
  return WORDS.test(json.toString('utf8'));
}

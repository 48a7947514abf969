/**
 * Converts the hub's response to one request for the client of `mcphub bridge`: always a reply with the id of that
 * request.
 */
import { isRefusal } from '../model/outcome.ts';
import { scanEnvelope } from '../protocol/scan.ts';
import { rawErrorFrame } from '../protocol/write.ts';

const SCAN = { maxDepth: 4096, maxIdBytes: 8192, strict: false } as const;

/**
 * Returns the response with the id `idRaw` (raw JSON text). An error without an id, sent before the hub had read the
 * request, gets that id. Returns undefined when `text` is not a response to this request.
 */
export function answerFor(idRaw: Buffer, text: Buffer): Buffer | undefined {
  const reply = scanEnvelope(text, SCAN);
  if (isRefusal(reply) || reply.kind !== 'reply') return undefined;
  const { bytes, id, error } = reply;
  const own = id.at < 0 ? 'null' : bytes.toString('latin1', id.at, id.end);
  if (own === idRaw.toString('latin1')) return text;
  return own === 'null' && error.at >= 0 ? rawErrorFrame(idRaw, bytes.subarray(error.at, error.end)) : undefined;
}

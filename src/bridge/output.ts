/**
 * Prepares a message of the hub for stdout of `mcphub bridge`: one line of valid JSON-RPC. The hub may have another
 * version, or be behind a proxy.
 */
import { isRefusal } from '../model/outcome.ts';
import { replyFault, scanAnswer } from '../protocol/answer.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import { errorFrame } from '../protocol/write.ts';

const SCAN = { maxDepth: 4096, maxIdBytes: 8192, strict: true, repairBytes: 16 * 1024 * 1024 } as const;
const INTERNAL_ERROR = -32603;
const NULL_ID = Buffer.from('null');
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;

/**
 * Returns the message without its line end. An invalid reply becomes an error with its id. Returns undefined when the
 * text is not a message.
 */
export function outputLine(text: Buffer): Buffer | undefined {
  const message = scanAnswer(text, SCAN);
  if (isRefusal(message)) return undefined;
  const { bytes, id, kind } = message;
  const fault = kind === 'reply' ? replyFault(message) : message.fault;
  if (fault === undefined) return onOneLine(bytes);
  if (kind !== 'reply') return undefined;
  const why = `The hub sent an answer that is not valid JSON-RPC: ${fault}.`;
  const idRaw = id.at < 0 ? NULL_ID : validId(bytes.subarray(id.at, id.end));
  return errorFrame(idRaw, { code: INTERNAL_ERROR, message: why });
}

/** Returns the id, or null when it is invalid. */
function validId(idRaw: Buffer): Buffer {
  try {
    return jsonBytes(JSON.parse(idRaw.toString('utf8')));
  } catch {
    return NULL_ID;
  }
}

/** Valid JSON has line ends between its tokens only. */
function onOneLine(json: Buffer): Buffer {
  if (!json.includes(LF) && !json.includes(CR)) return json;
  const line = Buffer.from(json);
  for (let at = 0; at < line.length; at += 1) if (line[at] === LF || line[at] === CR) line[at] = SPACE;
  return line;
}

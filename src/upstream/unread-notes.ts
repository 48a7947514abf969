/**
 * Tells other workers that a list of a server could not be read completely, in `_meta` of the list that they get, so
 * that the status of the server is the same in every worker. Only workers write and read this.
 */
import type { UnreadList } from '../model/snapshot.ts';
import { jsonText } from '../protocol/json-text.ts';
import { memberSpan } from '../protocol/scan.ts';

export type UnreadNote = Pick<UnreadList, 'why' | 'rows' | 'isWanted'>;

const NAME = 'mcphub/unread';
const START = Buffer.from('{"_meta":');
const WHY_CHARS = 1000;
const NOTE_BYTES = 16 * 1024;

/** Returns the beginning of a list result, up to its next member. */
export function listStart(unread: UnreadNote | undefined): string {
  if (unread === undefined) return '{';
  const { why, rows, isWanted } = unread;
  return `{"_meta":${jsonText({ [NAME]: { why: why.slice(0, WHY_CHARS), rows, isWanted } })},`;
}

/** Returns what another worker reports about the list in `json`; undefined when it has read all of it. */
export function unreadNote(json: Buffer): UnreadNote | undefined {
  if (!json.subarray(0, START.length).equals(START)) return undefined;
  const meta = memberSpan(json, { at: 0, end: json.length }, '_meta');
  if (meta.at < 0 || meta.end - meta.at > NOTE_BYTES) return undefined;
  const note = (JSON.parse(json.toString('utf8', meta.at, meta.end)) as Record<string, Partial<UnreadNote>>)[NAME];
  if (typeof note?.why !== 'string') return undefined;
  return {
    why: note.why,
    rows: typeof note.rows === 'number' ? note.rows : undefined,
    isWanted: note.isWanted === true,
  };
}

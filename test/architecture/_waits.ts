/**
 * Law 8: what the rooms of the data path may wait for.
 * Source: ARCHITECTURE, law 8 and the room table; `defaults.md` lists the named exceptions.
 */
import { placeOf, type SourceFile } from './_tree.ts';

/**
 * Labels by room; a room that is not here is not on the data path or is bounded elsewhere. An empty list = it may not
 * wait at all.
 */
export const MAY_WAIT: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  auth: [],
  admission: [],
  health: [],
  session: ['replay-fetch'],
  // Off the path: long lists are read in turns.
  catalog: ['background'],
  // A person who is asked is the client's side of the call.
  call: ['first-catalog', 'link-ready', 'owner-forward', 'cache-lookup', 'client-answer'],
};

const LABEL = /\blabel:\s*'([\w-]+)'|\bwaits\s*\.\s*open\(\s*'([\w-]+)'/g;
const PATIENCE = /\bawait\b|\basync\b|\.then\s*\(/g;

/**
 * Waits of a data-path room under a label that it has no right to; any asynchronous code in a room that may not wait.
 */
export function forbiddenWaits(file: SourceFile): string[] {
  const allowed = MAY_WAIT[file.room];
  if (allowed === undefined) return [];
  if (allowed.length === 0)
    return [...file.bare.matchAll(PATIENCE)].map((match) => `${placeOf(file, match.index)} ${match[0].trim()}`);
  return [...file.code.matchAll(LABEL)]
    .filter(([, inSpec, opened]) => !allowed.includes(inSpec ?? opened ?? ''))
    .map((match) => `${placeOf(file, match.index)} waits for ${match[1] ?? match[2]}`);
}

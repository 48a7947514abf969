/**
 * Describes the condition of a server for operators in one text: why it is not ready, its open circuit breaker and next
 * probe, lists that were not read, the last failed call. Used by `mcphub servers list` and the operator's page. Pure;
 * the text may quote the server and is not escaped.
 */

import { withoutStop } from '../model/sentence.ts';
import { ago } from '../runtime/ago.ts';
import type { ServerAnswer, ServerOnHub } from './contract.ts';

const NO_CANCELS = ' (cancel notifications are disabled: its process exited twice after one)';
/** Age in ms up to which a failed call is shown for a server that is otherwise fine. */
const SHOWN_MS = 15 * 60_000;

/** Returns the report of the worker that runs the server, or else the first report. */
export function homeOf({ hubs, homeHub }: ServerAnswer): ServerOnHub | undefined {
  return hubs.find(({ hub }) => hub === homeHub) ?? hubs[0];
}

/** Returns the text; empty when there is nothing to report. */
export function serverNotes(server: ServerAnswer): string {
  const home = homeOf(server);
  const loop = home?.crashLoop === undefined ? '' : `crash loop, ${home.crashLoop} exits in a row: `;
  const cancels = server.hubs.some(({ withholdsCancels }) => withholdsCancels) ? NO_CANCELS : '';
  const notes = home?.notes === undefined ? '' : ` (${home.notes.join('; ')})`;
  const retry =
    home?.retryMs !== undefined && server.state === 'waiting' ? `, next attempt in ${ago(home.retryMs)}` : '';
  const cause = server.cause ?? [listNotes(server), lastFailure(server)].filter((note) => note !== '').join('; ');
  const reference = server.reference ? ` [${server.reference}]` : '';
  return `${loop}${retry === '' ? cause : withoutStop(cause)}${retry}${reference}${cancels}${notes}`.trim();
}

/** Describes missing lists; empty when there are none. */
function listNotes({ hubs }: ServerAnswer): string {
  const unread = hubs.find((hub) => hub.unread)?.unread ?? [];
  // Many servers with resources do not support templates, which is normal.
  const shown = unread.filter(({ kind, isWanted }) => isWanted || kind !== 'template');
  const notes = shown.map(({ kind, why, rows }) =>
    rows === undefined ? `${kind}s not read: ${why}` : `${kind}s not read completely (${rows} read): ${why}`,
  );
  if (hubs.some(({ declaresNothing }) => declaresNothing)) notes.push('declares nothing');
  return notes.join('; ');
}

/** Describes the newest failed call of all workers; empty when there was none recently. */
function lastFailure({ hubs }: ServerAnswer): string {
  const [newest] = hubs.flatMap((hub) => hub.lastFailure ?? []).sort((a, b) => a.agoMs - b.agoMs);
  if (!newest || newest.agoMs > SHOWN_MS) return '';
  const { code, message, tool, reference, agoMs } = newest;
  const what = tool === undefined ? 'a call' : `a call of ${tool}`;
  return `${what} failed ${ago(agoMs)} ago: ${code}: ${message} [${reference}]`;
}

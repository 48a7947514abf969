/**
 * The four lists, as bytes of the catalog; no server gets a request.
 * Guarantees: every list is answered, empty if there is nothing (clients request all four); `_meta` states the
 * condition of each server, so that an empty list is not taken for a healthy one.
 */
import type { ListName, View } from '../catalog/view.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { jsonText } from '../protocol/json-text.ts';
import { paramSpan } from '../protocol/scan.ts';
import { publicStatus, type ServerStatus } from '../upstream/status.ts';
import type { Call, Reply } from './call.ts';
import type { FirstCatalog } from './first-catalog.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';

interface List {
  /** Position of the rows in the result. */
  readonly open: Buffer;
  /** The word for them in `_meta`. */
  readonly noun: ListName;
  readonly json: (view: View) => Buffer;
}

const LISTS: Readonly<Record<string, List>> = {
  'tools/list': { open: Buffer.from('{"tools":'), noun: 'tools', json: (view) => view.toolsJson() },
  'prompts/list': { open: Buffer.from('{"prompts":'), noun: 'prompts', json: (view) => view.promptsJson() },
  'resources/list': { open: Buffer.from('{"resources":'), noun: 'resources', json: (view) => view.resourcesJson() },
  'resources/templates/list': {
    open: Buffer.from('{"resourceTemplates":'),
    noun: 'templates',
    json: (view) => view.templatesJson(),
  },
};

/** Returns undefined for other methods. */
export function answerList(
  call: Call,
  firstCatalog: FirstCatalog,
  parts: PipelineParts,
): Outcome<Reply> | Promise<Outcome<Reply>> | undefined {
  const { method } = call.envelope;
  const list = Object.hasOwn(LISTS, method) ? LISTS[method] : undefined;
  if (!list) return undefined;
  const cursor = refuseCursor(call);
  if (isRefusal(cursor)) return cursor;
  const waiting = firstCatalog.wait(call);
  return waiting === undefined
    ? listed(list, call, parts)
    : waiting.then(() => call.open.ended ?? listed(list, call, parts));
}

/** Lists have one page, so that no cursor is valid; null and an empty one count as none. */
function refuseCursor(call: Call): Outcome<undefined> {
  const { bytes, params } = call.envelope;
  if (params.at < 0) return undefined;
  const cursor = paramSpan(call.envelope, 'cursor');
  const text = cursor.at < 0 ? 'null' : bytes.toString('latin1', cursor.at, cursor.end);
  if (text === 'null' || text === '""') return undefined;
  return new Refusal('invalid-params', 'Unknown cursor: this list has one page.');
}

/** Returns a promise when a long list is built only now. */
function listed(list: List, call: Call, parts: PipelineParts): Reply | Promise<Reply> {
  const view = resolveView(parts.catalog, call.viewName) ?? call.view;
  const preparing = view.prepare(list.noun, parts.runtime);
  return preparing === undefined ? replyOf(list, view, parts) : preparing.then(() => replyOf(list, view, parts));
}

/** The rows are the view's own bytes: a copy of 4 MB into new memory takes up to 20 ms (measured). */
function replyOf({ open, noun, json }: List, view: View, parts: PipelineParts): Reply {
  const tail = Buffer.from(`,"_meta":{"mcphub/servers":${jsonText(outcomes(view.servers, noun, parts))}}}`);
  return { kind: 'result', json: json(view), around: { head: open, tail } };
}

const SHOWN = {
  tools: 'toolCount',
  prompts: 'promptCount',
  resources: 'resourceCount',
  templates: 'templateCount',
} as const;

/** The condition of one server, and its number of rows in this list. */
type ServerOutcome = {
  readonly state: string;
  readonly stale?: true;
  /** The server did not return this list, or not all of it. */
  readonly incomplete?: true;
  readonly cause?: string;
  /** Names the failure in the operator's log. */
  readonly reference?: string;
  /** How often in a row its process has exited early. */
  readonly crashLoop?: number;
} & {
  readonly [noun in List['noun']]?: number;
};

function outcomes(servers: readonly string[], noun: List['noun'], parts: PipelineParts): Record<string, ServerOutcome> {
  const result: Record<string, ServerOutcome> = {};
  for (const server of servers) {
    const status = parts.registry.status(server);
    // After a start of the hub they are known from disk, while the link has not read any.
    const known = parts.catalog.viewOfServer(server)?.[SHOWN[noun]] ?? 0;
    if (!status) result[server] = { state: 'idle', [noun]: known };
    // Its lists are being processed.
    else if (status.state === 'ready' && !parts.catalog.isListed(server))
      result[server] = { state: 'connecting', [noun]: 0 };
    else result[server] = outcomeOf(status, noun, known);
  }
  return result;
}

function outcomeOf(status: ServerStatus, noun: List['noun'], known: number): ServerOutcome {
  const { state, cause, reference, crashLoop } = publicStatus(status);
  const isIncomplete = status.unread?.some(({ kind, isWanted }) => isWanted && `${kind}s` === noun);
  if (state === 'ready') return { state, [noun]: status[noun], ...(isIncomplete ? { incomplete: true as const } : {}) };
  const count = Math.max(status[noun], known);
  return {
    state,
    [noun]: count,
    // They are the last known ones; the server does not answer now.
    ...(count > 0 ? { stale: true as const } : {}),
    ...(cause ? { cause } : {}),
    ...(reference ? { reference } : {}),
    ...(crashLoop === undefined ? {} : { crashLoop }),
  };
}

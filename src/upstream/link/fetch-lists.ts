/**
 * Reads the lists of a server, page by page, as raw bytes.
 * Guarantees: a list ends after `listPages` pages, `serverTools` rows, `listingBytes` of rows, or a repeated cursor;
 * each page has its own `listMs`; nothing is parsed; when a list fails, the others and its earlier pages are kept.
 */
import type { Limits } from '../../config/limits.ts';
import { HubError } from '../../model/errors.ts';
import { isRefusal } from '../../model/outcome.ts';
import type { ItemKind, RawListing, UnreadList } from '../../model/snapshot.ts';
import { memberSteps } from '../../protocol/answer.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import { elementSteps } from '../../protocol/elements.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import { ABSENT, type Span } from '../../protocol/message.ts';
import { isEmpty } from '../../protocol/object-params.ts';
import { stringAt } from '../../protocol/scan.ts';
import { LARGE_BYTES } from '../../protocol/scan-steps.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import { copySteps } from '../../runtime/copy-steps.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { Correlator } from '../connection/correlator.ts';
import { type UnreadNote, unreadNote } from '../unread-notes.ts';

export interface ListParts {
  readonly runtime: Pick<Runtime, 'waits' | 'turns'>;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
  /** Another worker runs the server and returns the lists that it has read. */
  readonly isForward: boolean;
}

/** What was read. A list is undefined when nothing of it could be read; `unread` has the reason. */
export interface ServerLists
  extends Pick<RawListing, 'tools' | 'prompts' | 'resources' | 'templates' | 'unread' | 'isBlank'> {
  /** Why the tools that the server declares could not be read. */
  readonly toolsFault: HubError | undefined;
}

/** The lists of a connection on which nothing is listed. */
export const NO_LISTS: ServerLists = {
  tools: [],
  prompts: [],
  resources: [],
  templates: [],
  unread: [],
  isBlank: false,
  toolsFault: undefined,
};

interface ListMethod {
  readonly kind: ItemKind;
  readonly method: string;
  /** Member of the result that contains the rows. */
  readonly member: string;
}

const TOOLS: ListMethod = { kind: 'tool', method: 'tools/list', member: 'tools' };
const PROMPTS: ListMethod = { kind: 'prompt', method: 'prompts/list', member: 'prompts' };
const RESOURCES: ListMethod = { kind: 'resource', method: 'resources/list', member: 'resources' };
const TEMPLATES: ListMethod = {
  kind: 'template',
  method: 'resources/templates/list',
  member: 'resourceTemplates',
};

/**
 * Returns the list that shows whether a server with these capabilities works: the first that it declares, or tools when
 * it declares none. `isToolless`: its tools cannot be read, so another declared list is used if there is one.
 */
export function listQuestion(capabilities: Readonly<Record<string, unknown>>, isToolless = false): string {
  const hasTools = capabilities.tools !== undefined && !isToolless;
  if (!hasTools && capabilities.prompts !== undefined) return PROMPTS.method;
  if (!hasTools && capabilities.resources !== undefined) return RESOURCES.method;
  return TOOLS.method;
}

/**
 * Reads all lists that the server declares, in parallel, and the tools of every server, because some have tools and do
 * not declare them. `besideMs`: time limit of the other lists when tools are declared. Never rejects.
 */
export async function listAll(
  parts: ListParts,
  { capabilities }: InitializeResult,
  deadline: Deadline,
  besideMs?: number,
): Promise<ServerLists> {
  using beside = besideMs === undefined ? deadline.sooner(deadline.remainingMs()) : deadline.sooner(besideMs);
  const unread: UnreadList[] = []; // bounded by: the kinds
  const read = async (list: ListMethod, until: Deadline, isDeclared = true): Promise<OneList> => {
    const one = await listOne(parts, list, until);
    const { rows, fault, note } = one;
    if (note) unread.push({ kind: list.kind, ...note, late: false });
    else if (fault && (isDeclared || rows))
      unread.push({
        kind: list.kind,
        why: fault.message,
        rows: rows?.length,
        late: until === beside && beside.ended !== undefined,
        isWanted: !(fault instanceof PageLimit) && (list === TOOLS || !(fault instanceof NoSuchList)),
      });
    return one;
  };
  const declared = (list: ListMethod, capability: unknown) => (capability === undefined ? NONE : read(list, beside));
  const isDeclared = capabilities.tools !== undefined;
  const [tools, prompts, resources, templates] = await Promise.all([
    read(TOOLS, isDeclared ? deadline : beside, isDeclared),
    declared(PROMPTS, capabilities.prompts),
    declared(RESOURCES, capabilities.resources),
    declared(TEMPLATES, capabilities.resources),
  ]);
  const hasOthers = capabilities.prompts !== undefined || capabilities.resources !== undefined;
  return {
    tools: isDeclared ? tools.rows : (tools.rows ?? []),
    prompts: prompts.rows,
    resources: resources.rows,
    templates: templates.rows,
    unread,
    // A server that declares other lists and has no tools/list has no tools.
    isBlank:
      tools.rows === undefined
        ? !isDeclared && !(hasOthers && tools.fault instanceof NoSuchList)
        : tools.rows.length === 0,
    toolsFault: isDeclared && tools.rows === undefined ? tools.fault : undefined,
  };
}

/** `rows` is undefined when no page could be read; `fault` says why the list is incomplete. */
interface OneList {
  readonly rows?: readonly Buffer[] | undefined;
  readonly fault?: HubError | undefined;
  /** What the worker that runs the server reports about the list. */
  readonly note?: UnreadNote | undefined;
}
const NONE: OneList = { rows: [] };

/** The server does not know the method. */
class NoSuchList extends HubError {}
/** The list has more pages than the limit. */
class PageLimit extends HubError {}

/** Never rejects. */
async function listOne(parts: ListParts, list: ListMethod, deadline: Deadline): Promise<OneList> {
  const { limits, server } = parts;
  const { kind, method, member } = list;
  const rows: Buffer[] = []; // bounded by: serverTools
  const seen = new Set<string>(); // bounded by: listPages
  let bytes = 0;
  let cursor: string | undefined;
  let page = 0;
  let note: UnreadNote | undefined;
  try {
    for (; page < limits.listPages; page += 1) {
      const json = await askPage(parts, method, cursor, deadline);
      note = parts.isForward ? unreadNote(json) : undefined;
      const left = { rows: limits.serverTools - rows.length + 1, bytes: limits.listingBytes - bytes };
      const [spans, next] = await inTurnsFor(parts, pageSteps(json, member, left), deadline);
      if (note && NULL_LIST.test(json.toString('latin1', json.length - NULL_CHARS)))
        throw new HubError('upstream-protocol', { message: note.why, detail: { server, phase: 'list' } });
      if (spans === undefined)
        throw new HubError('upstream-protocol', {
          message: `${server}: ${method} has no array of ${kind}s`,
          detail: { server, phase: 'list' },
        });
      // Copies the rows when the page is much larger than they are.
      const kept = await inTurnsFor(parts, rowSteps(json, spans, json.length > limits.listingBytes), deadline);
      for (const row of kept) {
        rows.push(row);
        bytes += row.length;
      }
      // An empty cursor means that there is no next page.
      cursor = (next && stringAt(json, next, CURSOR_BYTES)) || undefined;
      if (cursor === undefined || seen.has(cursor) || rows.length > limits.serverTools || bytes > limits.listingBytes)
        return { rows, note };
      seen.add(cursor);
    }
    const message = `${server}: ${method} has more pages than listPages (${limits.listPages})`;
    return { rows, fault: new PageLimit('upstream-protocol', { message, detail: { server, phase: 'list' } }) };
  } catch (thrown) {
    const fault = thrown instanceof HubError ? thrown : new HubError('internal', { cause: thrown });
    return { rows: page === 0 ? undefined : rows, fault, note };
  }
}

/** Returns the rows of a page, as `rowSpans` finds them, and its cursor; in steps of some milliseconds. */
function* pageSteps(
  json: Buffer,
  member: string,
  most: { readonly rows: number; readonly bytes: number },
): Generator<void, [rows: readonly Span[] | undefined, next: Span | undefined]> {
  const [found, next] = yield* memberSteps(json, [member, 'nextCursor']);
  return [yield* rowSpans(json, found ?? ABSENT, most), next];
}

function* rowSteps(json: Buffer, spans: readonly Span[], isCopied: boolean): Generator<void, readonly Buffer[]> {
  const rows: Buffer[] = []; // bounded by: spans
  let stepBytes = 0;
  for (const { at, end } of spans) {
    const row = json.subarray(at, end);
    rows.push(isCopied ? Buffer.from(row) : row);
    stepBytes += isCopied ? row.length : 0;
    if (stepBytes < LARGE_BYTES) continue;
    stepBytes = 0;
    yield;
  }
  return rows;
}

/** Returns the rows of one page: none when the list is absent, null or an empty object; undefined for other values. */
function* rowSpans(
  json: Buffer,
  list: Span,
  most: { readonly rows: number; readonly bytes: number },
): Generator<void, readonly Span[] | undefined> {
  if (list.at < 0 || isEmpty(json, list)) return [];
  if (json[list.at] === OPEN_ARRAY) return yield* elementSteps(json, list, most.rows, most.bytes);
  return EMPTY_OBJECT.test(json.toString('latin1', list.at, Math.min(list.end, list.at + 64))) ? [] : undefined;
}

/** The end of a list of which another worker could read nothing. */
const NULL_LIST = /:null\}$/;
const NULL_CHARS = 6;
const OPEN_ARRAY = 0x5b;
const EMPTY_OBJECT = /^\{\s*\}$/;
const CURSOR_BYTES = 4096;
const METHOD_NOT_FOUND = -32601;

async function askPage(
  { runtime, limits, server, correlator }: ListParts,
  method: string,
  cursor: string | undefined,
  deadline: Deadline,
): Promise<Buffer> {
  using own = deadline.sooner(limits.listMs);
  const params = jsonBytes(cursor === undefined ? {} : { cursor });
  const answer = await correlator.ask(
    {
      method,
      label: 'upstream-list',
      owner: server,
      budget: new CallBudget(own, 'listMs'),
      back: SILENT_BACK_CHANNEL,
    },
    () => params,
  );
  if (isRefusal(answer))
    throw new HubError(answer.code, { message: answer.message, detail: { server, phase: 'list', ...answer.detail } });
  if (answer.kind === 'error') {
    const Fault = errorCode(answer.json) === METHOD_NOT_FOUND ? NoSuchList : HubError;
    const message = `${server} refused ${method}: ${answer.json.toString('utf8', 0, 300)}`;
    throw new Fault('upstream-protocol', { message, detail: { server, phase: 'list' } });
  }
  // Its rows are kept; the buffer in which a long message was assembled may be larger.
  const isRoomy = answer.json.buffer.byteLength > 2 * answer.json.length && answer.json.length > LARGE_BYTES;
  return isRoomy ? await inTurnsFor({ runtime, server }, copySteps(answer.json), own) : answer.json;
}

/** Spreads work on a large page over several turns of the event loop. */
async function inTurnsFor<T>(
  { runtime, server }: Pick<ListParts, 'runtime' | 'server'>,
  steps: Iterator<void, T>,
  deadline: Deadline,
): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await runtime.waits.for(runtime.turns.next(), { label: 'upstream-list', owner: server, deadline });
  }
}

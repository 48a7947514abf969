/**
 * Reads a server's lists, page by page, as the bytes they are.
 * Guarantees: a list ends after `listPages` pages, `serverTools` rows, `listingBytes` of rows, or a cursor that comes again; each page has its own
 * `listMs`; nothing is parsed; a list of prompts, resources or templates that cannot be read fails alone, and only tools fail the reading.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal } from '../kernel/outcome.ts';
import type { ItemKind, RawListing } from '../kernel/snapshot.ts';
import { membersAt } from '../protocol/answer.ts';
import { SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import { ABSENT, type Span } from '../protocol/message.ts';
import { isEmpty } from '../protocol/object-params.ts';
import { elementSpans, stringAt } from '../protocol/scan.ts';
import type { Correlator } from './correlate.ts';

export interface ListParts {
  readonly kernel: Pick<Kernel, 'waits' | 'turns'>;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
}

/** What was read; undefined = that list could not be, and `unread` says why. */
export type ServerLists = Pick<RawListing, 'tools' | 'prompts' | 'resources' | 'templates' | 'unread'>;

interface ListMethod {
  readonly kind: ItemKind;
  readonly method: string;
  /** Where the rows are in the result. */
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

/** The list that says whether a server with these capabilities works: the first of what it declares; tools where it declares none. */
export function listQuestion(capabilities: Readonly<Record<string, unknown>>): string {
  if (capabilities.tools === undefined && capabilities.prompts !== undefined) return PROMPTS.method;
  if (capabilities.tools === undefined && capabilities.resources !== undefined) return RESOURCES.method;
  return TOOLS.method;
}

/**
 * All lists that the server declares, side by side; of the others there is nothing to read, but for the tools of one that declares nothing. `besideMs` = the lists beside the tools end after
 * this time at the latest. Rejects when the tools cannot be read.
 */
export async function listAll(
  parts: ListParts,
  { capabilities }: ServerHello,
  deadline: Deadline,
  besideMs?: number,
): Promise<ServerLists> {
  using beside = besideMs === undefined ? deadline.sooner(deadline.remainingMs()) : deadline.sooner(besideMs);
  const unread: { kind: ItemKind; why: string; late: boolean }[] = []; // bounded by: the kinds
  const optional = async (list: ListMethod, capability: unknown): Promise<Buffer[] | undefined> => {
    if (capability === undefined) return [];
    try {
      return await listOne(parts, list, beside);
    } catch (fault) {
      const why = fault instanceof HubError ? fault.message : 'could not be read';
      unread.push({ kind: list.kind, why, late: beside.ended !== undefined });
      return undefined;
    }
  };
  const others = [
    optional(PROMPTS, capabilities.prompts),
    optional(RESOURCES, capabilities.resources),
    optional(TEMPLATES, capabilities.resources),
  ] as const;
  const declaresNothing = Object.keys(capabilities).length === 0;
  const tools =
    capabilities.tools !== undefined
      ? await listOne(parts, TOOLS, deadline)
      : declaresNothing
        ? await listUndeclared(parts, beside)
        : [];
  const [prompts, resources, templates] = await Promise.all(others);
  return { tools, prompts, resources, templates, unread };
}

/** The tools of a server that declares nothing at all: some have tools and write empty capabilities. One that refuses has none. */
async function listUndeclared(parts: ListParts, deadline: Deadline): Promise<Buffer[]> {
  try {
    return await listOne(parts, TOOLS, deadline);
  } catch {
    return [];
  }
}

async function listOne(parts: ListParts, { kind, method, member }: ListMethod, deadline: Deadline): Promise<Buffer[]> {
  const { limits, server } = parts;
  const rows: Buffer[] = []; // bounded by: serverTools
  const seen = new Set<string>(); // bounded by: listPages
  let bytes = 0;
  let cursor: string | undefined;
  for (let page = 0; page < limits.listPages; page += 1) {
    const json = await askPage(parts, method, cursor, deadline);
    const [list, next] = membersAt(json, [member, 'nextCursor']);
    await turnFor(parts, json, deadline);
    const left = { rows: limits.serverTools - rows.length + 1, bytes: limits.listingBytes - bytes };
    const spans = rowSpans(json, list ?? ABSENT, left);
    if (spans === undefined)
      throw new HubError('upstream-protocol', {
        message: `${server}: ${method} has no array of ${kind}s`,
        detail: { server, phase: 'list' },
      });
    for (const span of spans) {
      // A copy where the page is much larger than what is kept of it.
      const row = json.subarray(span.at, span.end);
      rows.push(json.length > limits.listingBytes ? Buffer.from(row) : row);
      bytes += row.length;
    }
    await turnFor(parts, json, deadline);
    // An empty cursor is none.
    cursor = (next && stringAt(json, next, CURSOR_BYTES)) || undefined;
    if (cursor === undefined || seen.has(cursor) || rows.length > limits.serverTools || bytes > limits.listingBytes)
      break;
    seen.add(cursor);
  }
  return rows;
}

/** The rows of one page: none where the list is absent, null or an empty object; undefined = it is something else. */
function rowSpans(
  json: Buffer,
  list: Span,
  most: { readonly rows: number; readonly bytes: number },
): readonly Span[] | undefined {
  if (list.at < 0 || isEmpty(json, list)) return [];
  if (json[list.at] === OPEN_ARRAY) return elementSpans(json, list, most.rows, most.bytes);
  return EMPTY_OBJECT.test(json.toString('latin1', list.at, Math.min(list.end, list.at + 64))) ? [] : undefined;
}

const OPEN_ARRAY = 0x5b;
const EMPTY_OBJECT = /^\{\s*\}$/;
const CURSOR_BYTES = 4096;
/** A larger page took milliseconds to check: its rows are found in a turn of the loop of their own. */
const LARGE_BYTES = 256 * 1024;

async function askPage(
  { kernel, limits, server, correlator }: ListParts,
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
      deadline: own,
      setting: 'listMs',
      back: SILENT_BACK_CHANNEL,
      silence: undefined,
    },
    () => params,
  );
  if (isRefusal(answer))
    throw new HubError(answer.code, { message: answer.message, detail: { server, phase: 'list', ...answer.detail } });
  if (answer.kind === 'error')
    throw new HubError('upstream-protocol', {
      message: `${server} refused ${method}: ${answer.json.toString('utf8', 0, 300)}`,
      detail: { server, phase: 'list' },
    });
  await turnFor({ kernel, server }, answer.json, own);
  // Its rows are kept; what a long message was put together in has room for more.
  const isRoomy = answer.json.buffer.byteLength > 2 * answer.json.length && answer.json.length > LARGE_BYTES;
  const json = isRoomy ? Buffer.from(answer.json) : answer.json;
  await turnFor({ kernel, server }, json, own);
  return json;
}

/** Work on a large page goes on in another turn of the event loop. */
async function turnFor(
  { kernel, server }: Pick<ListParts, 'kernel' | 'server'>,
  json: Buffer,
  deadline: Deadline,
): Promise<void> {
  if (json.length > LARGE_BYTES)
    await kernel.waits.for(kernel.turns.next(), { label: 'upstream-list', owner: server, deadline });
}

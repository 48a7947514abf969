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

/**
 * All lists that the server declares, side by side; of the others there is nothing to read. `besideMs` = the lists beside the tools end after
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
  const tools = capabilities.tools === undefined ? [] : await listOne(parts, TOOLS, deadline);
  const [prompts, resources, templates] = await Promise.all(others);
  return { tools, prompts, resources, templates, unread };
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
    if (list === undefined || list.at < 0 || json[list.at] !== OPEN_ARRAY)
      throw new HubError('upstream-protocol', {
        message: `${server}: ${method} has no array of ${kind}s`,
        detail: { server, phase: 'list' },
      });
    const left = { rows: limits.serverTools - rows.length + 1, bytes: limits.listingBytes - bytes };
    for (const span of elementSpans(json, list, left.rows, left.bytes)) {
      // A copy where the page is much larger than what is kept of it.
      const row = json.subarray(span.at, span.end);
      rows.push(json.length > limits.listingBytes ? Buffer.from(row) : row);
      bytes += row.length;
    }
    cursor = next && stringAt(json, next, CURSOR_BYTES);
    if (cursor === undefined || seen.has(cursor) || rows.length > limits.serverTools || bytes > limits.listingBytes)
      break;
    seen.add(cursor);
  }
  return rows;
}

const OPEN_ARRAY = 0x5b;
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
  if (answer.json.length > LARGE_BYTES)
    await kernel.waits.for(kernel.turns.next(), { label: 'upstream-list', owner: server, deadline: own });
  return answer.json;
}

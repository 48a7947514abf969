/**
 * The four lists. tools/list is bytes of the catalog; nothing is asked of any server.
 * Promises: every list is answered, empty if need be (clients ask for all four); `_meta` says per server how it stands, so that "empty" is
 * never mistaken for "all well".
 */
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import { memberSpan } from '../protocol/scan.ts';
import type { ServerStatus } from '../upstream/status.ts';
import type { Call, Reply } from './call.ts';
import type { FirstCatalog } from './first-catalog.ts';
import type { LineRooms } from './rooms.ts';
import { viewIn } from './view-in.ts';

const EMPTY_LISTS: Readonly<Record<string, Buffer>> = {
  'prompts/list': Buffer.from('{"prompts":[]}'),
  'resources/list': Buffer.from('{"resources":[]}'),
  'resources/templates/list': Buffer.from('{"resourceTemplates":[]}'),
};

/** Undefined = the method is not a list. */
export function answerList(
  call: Call,
  firstCatalog: FirstCatalog,
  rooms: LineRooms,
): Outcome<Reply> | Promise<Outcome<Reply>> | undefined {
  const { method } = call.envelope;
  const empty = EMPTY_LISTS[method];
  if (!empty && method !== 'tools/list') return undefined;
  const cursor = refuseCursor(call);
  if (isRefusal(cursor)) return cursor;
  if (empty) return { kind: 'result', json: empty };
  const waiting = firstCatalog.wait(call);
  return waiting === undefined ? toolsList(call, rooms) : waiting.then(() => toolsList(call, rooms));
}

/** Lists come in one page, so that any cursor is a foreign one. */
function refuseCursor(call: Call): Outcome<undefined> {
  const { bytes, params } = call.envelope;
  if (params.at < 0) return undefined;
  const cursor = memberSpan(bytes, params, 'cursor');
  if (cursor.at < 0 || bytes.toString('utf8', cursor.at, cursor.end) === 'null') return undefined;
  return new Refusal('invalid-params', 'Unknown cursor: this list has one page.');
}

function toolsList(call: Call, rooms: LineRooms): Reply {
  const view = viewIn(rooms.catalog, call.viewName) ?? call.view;
  const meta = Buffer.from(`,"_meta":{"mcphub/servers":${JSON.stringify(outcomes(view.servers, rooms))}}}`);
  return { kind: 'result', json: Buffer.concat([TOOLS_OPEN, view.toolsJson(), meta]) };
}
const TOOLS_OPEN = Buffer.from('{"tools":');

interface ServerOutcome {
  readonly state: string;
  readonly tools: number;
  /** The tools are the last known ones; the server does not answer now. */
  readonly stale?: true;
  readonly cause?: string;
}

function outcomes(servers: readonly string[], rooms: LineRooms): Record<string, ServerOutcome> {
  const result: Record<string, ServerOutcome> = {};
  for (const server of servers) {
    const status = rooms.fleet.status(server);
    result[server] = status ? outcomeOf(status) : { state: 'idle', tools: 0 };
  }
  return result;
}

function outcomeOf(status: ServerStatus): ServerOutcome {
  if (status.state === 'ready') return { state: 'ready', tools: status.tools };
  return {
    state: status.state,
    tools: status.tools,
    ...(status.tools > 0 ? { stale: true as const } : {}),
    ...(status.cause ? { cause: status.cause } : {}),
  };
}

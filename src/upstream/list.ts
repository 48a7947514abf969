/**
 * Reads a server's tools, page by page, as the bytes they are.
 * Promises: ends after `listPages` pages, `serverTools` tools, `answerBytes` in all, or a cursor that comes again; each page has its own
 * `listMs`; nothing is parsed.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import { isRefusal } from '../kernel/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import { elementSpans, memberSpan, stringAt } from '../protocol/scan.ts';
import type { Correlator } from './correlate.ts';

export interface ListParts {
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
}

export async function listTools(parts: ListParts, deadline: Deadline): Promise<Buffer[]> {
  const { limits, server } = parts;
  const tools: Buffer[] = []; // bounded by: serverTools
  const seen = new Set<string>(); // bounded by: listPages
  let bytes = 0;
  let cursor: string | undefined;
  for (let page = 0; page < limits.listPages; page += 1) {
    const json = await askPage(parts, cursor, deadline);
    const whole = { at: 0, end: json.length };
    const list = memberSpan(json, whole, 'tools');
    if (list.at < 0 || json[list.at] !== OPEN_ARRAY)
      throw new HubError('upstream-protocol', {
        message: `${server}: tools/list has no array of tools`,
        detail: { server, phase: 'list' },
      });
    for (const span of elementSpans(json, list, limits.serverTools - tools.length + 1))
      tools.push(json.subarray(span.at, span.end));
    bytes += json.length;
    cursor = stringAt(json, memberSpan(json, whole, 'nextCursor'));
    if (cursor === undefined || seen.has(cursor) || tools.length > limits.serverTools || bytes > limits.answerBytes)
      break;
    seen.add(cursor);
  }
  return tools;
}

const OPEN_ARRAY = 0x5b;

async function askPage(
  { limits, server, correlator }: ListParts,
  cursor: string | undefined,
  deadline: Deadline,
): Promise<Buffer> {
  using own = deadline.sooner(limits.listMs);
  const params = Buffer.from(cursor === undefined ? '{}' : JSON.stringify({ cursor }));
  const answer = await correlator.ask(
    {
      method: 'tools/list',
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
      message: `${server} refused tools/list: ${answer.json.toString('utf8', 0, 300)}`,
      detail: { server, phase: 'list' },
    });
  return answer.json;
}

/**
 * Results as the stateless era wants them: each says what kind it is, and those that may be kept say how long and by whom.
 * Promises: what a server sent stays as it was, but for members of these names, which only the hub may write.
 * Source: specification 2026-07-28, results and caching; protocol.md §1.4 (ttlMs, cacheScope).
 */
import { jsonBytes } from '../json-text.ts';
import { withoutMembers } from '../meta.ts';
import { SERVER_INFO, SUBSCRIPTION_ID, SUPPORTED } from './versions.ts';

/** Results that a client may keep. */
const CACHEABLE: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);
/** Not to be kept without asking: a list changes when a server says so. And private: keys and groups shape what each caller sees. */
const MEMBERS = { resultType: '"complete"', ttlMs: '0', cacheScope: '"private"' } as const;
type Member = keyof typeof MEMBERS;
const ALL: readonly Member[] = ['resultType', 'ttlMs', 'cacheScope'];
const EMPTY_OBJECT = /^\{\s*\}$/;

/** `json` = complete text of a result object of the 2025 dates. A server's own members of these names are removed, each of them. */
export function completeResult(method: string, json: Buffer): Buffer {
  const wanted = wantedFor(method);
  const rest = withoutMembers(json, wanted);
  const isEmpty = rest.length < 64 && EMPTY_OBJECT.test(rest.toString('latin1'));
  return Buffer.concat([Buffer.from(`{${membersText(wanted)}${isEmpty ? '' : ','}`), rest.subarray(1)]);
}

/** The same for the beginning of a result of the hub's own: `{` and the name of a member, but none of these. */
export function completeHead(method: string, head: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{${membersText(wantedFor(method))},`), head.subarray(1)]);
}

function wantedFor(method: string): readonly Member[] {
  return CACHEABLE.has(method) ? ALL : ALL.slice(0, 1);
}

function membersText(wanted: readonly Member[]): string {
  return wanted.map((name) => `"${name}":${MEMBERS[name]}`).join(',');
}

export interface Discovered {
  readonly capabilities: object;
  readonly instructions: string;
  readonly serverName: string;
  readonly serverVersion: string;
}

/** The answer to server/discover, but for what `completeResult` adds. */
export function discoverResult(hub: Discovered): Buffer {
  return jsonBytes({
    supportedVersions: SUPPORTED,
    capabilities: hub.capabilities,
    ...(hub.instructions === '' ? {} : { instructions: hub.instructions }),
    _meta: { [SERVER_INFO]: { name: hub.serverName, version: hub.serverVersion } },
  });
}

/** `{"_meta":{…subscriptionId}}` and what else a frame of a subscription says. `idRaw` = raw JSON text of the id of its request. */
export function subscriptionParams(idRaw: Buffer, rest: object = {}): Buffer {
  const text = JSON.stringify(rest).slice(1, -1);
  const meta = `{"_meta":{"${SUBSCRIPTION_ID}":${idRaw.toString('utf8')}}`;
  return Buffer.from(`${meta}${text === '' ? '' : `,${text}`}}`);
}

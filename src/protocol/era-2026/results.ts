/**
 * Completes results for the stateless era: each states its kind, and cacheable ones state how long and by whom they may
 * be cached.
 * Guarantees: a server's result stays unchanged, except for members of these names, which only the hub may write.
 * Source: specification 2026-07-28, results and caching.
 */
import { jsonBytes } from '../json-text.ts';
import { withoutMembers } from '../meta.ts';
import { SERVER_INFO, SUBSCRIPTION_ID, SUPPORTED } from './versions.ts';

/** Methods whose results a client may cache. */
const CACHEABLE: ReadonlySet<string> = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);
/**
 * Results must be revalidated, because a list changes at any time, and are private, because keys and groups shape each
 * caller's view.
 */
const MEMBERS = { resultType: '"complete"', ttlMs: '0', cacheScope: '"private"' } as const;
type Member = keyof typeof MEMBERS;
const ALL: readonly Member[] = ['resultType', 'ttlMs', 'cacheScope'];
const EMPTY_OBJECT = /^\{\s*\}$/;

/**
 * Completes a result object of the 2025 dates, given as complete JSON text. Removes all members of these names that the
 * server wrote.
 */
export function completeResult(method: string, json: Buffer): Buffer {
  const wanted = wantedFor(method);
  const rest = withoutMembers(json, wanted);
  const isEmpty = rest.length < 64 && EMPTY_OBJECT.test(rest.toString('latin1'));
  return Buffer.concat([Buffer.from(`{${membersText(wanted)}${isEmpty ? '' : ','}`), rest.subarray(1)]);
}

/** Completes the beginning of a result that the hub writes: `{` and a member name that is none of these. */
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

/** Returns the result of server/discover, without the members that `completeResult` adds. */
export function discoverResult(hub: Discovered): Buffer {
  return jsonBytes({
    supportedVersions: SUPPORTED,
    capabilities: hub.capabilities,
    ...(hub.instructions === '' ? {} : { instructions: hub.instructions }),
    _meta: { [SERVER_INFO]: { name: hub.serverName, version: hub.serverVersion } },
  });
}

/**
 * Returns `{"_meta":{…subscriptionId}}` with further members, for a message of a subscription. `idRaw` is the raw JSON
 * text of the id of its request.
 */
export function subscriptionParams(idRaw: Buffer, rest: object = {}): Buffer {
  const text = JSON.stringify(rest).slice(1, -1);
  const meta = `{"_meta":{"${SUBSCRIPTION_ID}":${idRaw.toString('utf8')}}`;
  return Buffer.from(`${meta}${text === '' ? '' : `,${text}`}}`);
}

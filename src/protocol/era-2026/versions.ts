/**
 * The date of the stateless era, and the list of dates that the hub supports.
 * Source: specification 2026-07-28, versioning.
 */
import { VERSIONS_2025 } from '../era-2025/versions.ts';

export const VERSION_2026 = '2026-07-28';

/** All supported dates, newest first, as listed in the error for an unsupported date. */
export const SUPPORTED: readonly string[] = [VERSION_2026, ...VERSIONS_2025.toReversed()];

/** Prefix of `_meta` members that are meant for one hop and must not be passed on. */
export const HOP_PREFIX = 'io.modelcontextprotocol/';
export const SERVER_INFO = `${HOP_PREFIX}serverInfo`;
export const SUBSCRIPTION_ID = `${HOP_PREFIX}subscriptionId`;

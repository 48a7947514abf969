/**
 * The date of the stateless era, and what the hub says it speaks.
 * Source: specification 2026-07-28, versioning; protocol.md §1.1.
 */
import { VERSIONS_2025 } from '../era-2025/versions.ts';

export const VERSION_2026 = '2026-07-28';

/** All dates that this hub speaks, newest first: what a client is told whose date is not one of them. */
export const SUPPORTED: readonly string[] = [VERSION_2026, ...VERSIONS_2025.toReversed()];

/** Members of `_meta` that belong to one hop and travel no further. */
export const HOP_PREFIX = 'io.modelcontextprotocol/';
export const SERVER_INFO = `${HOP_PREFIX}serverInfo`;
export const SUBSCRIPTION_ID = `${HOP_PREFIX}subscriptionId`;

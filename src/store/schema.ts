/**
 * Types of the tables for Kysely; `migrations.ts` creates them. Times are wall clock ms; JSON is text.
 */
import type { ItemKind, Role } from '../model/snapshot.ts';

export interface UsersTable {
  id: string;
  name: string;
  created_at: number;
}

export interface KeysTable {
  id: string;
  /** SHA-256 of the whole key, hex. */
  hash: string;
  family: string;
  user_id: string;
  role: Role;
  name: string;
  prefix: string;
  last4: string;
  /** JSON array of group slugs; null = all groups. */
  groups: string | null;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
}

export interface SlugsTable {
  kind: 'server' | 'group';
  name: string;
  slug: string;
}

export interface NamesTable {
  kind: ItemKind;
  exposed: string;
  server: string;
  native: string;
}

export interface ListingsTable {
  server: string;
  at: number;
  digest: string;
  /** Empty = the text is in `listing_parts`. */
  json: string;
}

export interface ListingPartsTable {
  server: string;
  /** 0, 1, 2 … in the order of the text. */
  part: number;
  json: string;
}

export interface SessionRecordsTable {
  id: string;
  at: number;
  /** Preferences as JSON; null = tombstone: the session has ended. */
  wishes: string | null;
  owner: string | null;
}

export interface AuditTable {
  at: number;
  who: string;
  action: string;
  subject: string;
}

export interface MetaTable {
  name: string;
  value: number;
}

export interface Tables {
  users: UsersTable;
  keys: KeysTable;
  slugs: SlugsTable;
  names: NamesTable;
  listings: ListingsTable;
  listing_parts: ListingPartsTable;
  session_marks: SessionRecordsTable;
  audit: AuditTable;
  meta: MetaTable;
}

/**
 * The store's shape, as numbered steps with a way there and a way back.
 * Promises: a step never changes once it is released; `down` undoes what `up` made (what only the newer shape can hold is lost).
 * Does not: run (`_migrate.ts`).
 */
export interface Migration {
  /** 1, 2, 3 … without gaps. */
  readonly version: number;
  readonly up: string;
  readonly down: string;
}

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    up: `
      create table users (id text primary key, name text not null unique, created_at integer not null) strict;
      create table keys (
        id text primary key, hash text not null unique, family text not null,
        user_id text not null references users (id), role text not null, name text not null,
        prefix text not null, last4 text not null, groups text, created_at integer not null,
        expires_at integer, revoked_at integer, last_used_at integer
      ) strict;
      create table slugs (
        kind text not null, name text not null, slug text not null,
        primary key (kind, name), unique (kind, slug)
      ) strict;
      create table names (
        exposed text primary key, server text not null, native text not null, unique (server, native)
      ) strict;
      create table listings (server text primary key, at integer not null, digest text not null, json text not null) strict;
      create table meta (name text primary key, value integer not null) strict;
    `,
    down: `
      drop table meta; drop table listings; drop table names; drop table slugs; drop table keys; drop table users;
    `,
  },
  {
    version: 2,
    up: `
      create table tombstones (id text primary key, at integer not null) strict, without rowid;
      create index tombstones_at on tombstones (at);
      create table audit (at integer not null, who text not null, action text not null, subject text not null) strict;
      create index audit_at on audit (at);
    `,
    down: 'drop table audit; drop table tombstones;',
  },
];

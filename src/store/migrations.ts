/**
 * The schema of the store as numbered migrations, forward and back; `_migrate.ts` runs them.
 * Guarantees: a released migration never changes; `down` undoes `up` (data that only the newer schema can hold is
 * lost).
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
  {
    // Prompts have names too, independent of those of tools. The order of rows is the order of assignment, both ways.
    version: 3,
    up: `
      create table named (
        exposed text not null, server text not null, native text not null, kind text not null default 'tool',
        primary key (kind, exposed), unique (kind, server, native)
      ) strict;
      insert into named (exposed, server, native) select exposed, server, native from names order by rowid;
      drop table names;
      alter table named rename to names;
    `,
    down: `
      create table named (
        exposed text primary key, server text not null, native text not null, unique (server, native)
      ) strict;
      insert into named select exposed, server, native from names where kind = 'tool' order by rowid;
      drop table names;
      alter table named rename to names;
    `,
  },
  {
    // Tombstones (wishes null), and preferences of living sessions.
    version: 4,
    up: `
      create table session_marks (id text primary key, at integer not null, wishes text) strict, without rowid;
      insert into session_marks (id, at) select id, at from tombstones;
      create index session_marks_at on session_marks (at);
      drop table tombstones;
    `,
    down: `
      create table tombstones (id text primary key, at integer not null) strict, without rowid;
      insert into tombstones select id, at from session_marks where wishes is null;
      create index tombstones_at on tombstones (at);
      drop table session_marks;
    `,
  },
  {
    // Whose share a record is charged to; null = written by an older version.
    version: 5,
    up: 'alter table session_marks add column owner text;',
    down: 'alter table session_marks drop column owner;',
  },
  {
    // Parts of a long list, written over several turns of the event loop; `json` of `listings` is then empty.
    version: 6,
    up: `
      create table listing_parts (
        server text not null, part integer not null, json text not null, primary key (server, part)
      ) strict;
    `,
    down: `
      update listings set json = (
        select group_concat(json, '') from (select json from listing_parts where server = listings.server order by part)
      ) where json = '';
      drop table listing_parts;
    `,
  },
];

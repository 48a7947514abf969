/**
 * The snapshot: everything a worker needs to answer calls, as one frozen value that is replaced as a whole. The control
 * process builds and publishes it; workers read one reference. It is plain JSON and may contain secrets: write files of
 * it with mode 0600.
 * Guarantees: a reader that takes `current` once sees one consistent snapshot; the revision only increases.
 */
import type { CatalogSize } from './catalog-size.ts';
import type { LearnedOpening } from './raw-listing.ts';

export type { RawListing, UnreadList } from './raw-listing.ts';

/** How the child process of a stdio server is started. Variables in the values have been replaced. */
export interface ProcessSpec {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the small allow-list of inherited variables; may contain secrets. */
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; undefined for the directory of the configuration file. */
  readonly cwd: string | undefined;
}

export interface StdioSpec extends ProcessSpec {
  readonly kind: 'stdio';
}

/**
 * Streamable HTTP. With `launch` the hub also runs the program that listens at `url` (`${PORT}` in the URL is a free
 * port, passed to it as PORT).
 */
export interface HttpSpec {
  readonly kind: 'http';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly launch: ProcessSpec | undefined;
  /** False when the hub opens no GET stream. */
  readonly getStream?: false;
  /** The type is not configured: a server that refuses the first POST as HTTP+SSE servers do is used as one. */
  readonly untyped?: true;
}

/** HTTP+SSE of 2024-11-05. */
export interface SseSpec {
  readonly kind: 'sse';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Times of one server or tool in ms; undefined for the default from the limits table. */
export interface CallTimes {
  readonly silenceMs: number | undefined;
  readonly totalMs: number | undefined;
  /** Limit that applies even while there are signs of life. */
  readonly callTimeoutMs: number | undefined;
}

export interface ToolSetting extends CallTimes {
  readonly enabled: boolean;
}

export interface ServerSpec {
  /** As configured; any characters. */
  readonly name: string;
  /** Readable ASCII form of the name, unique, persisted: used in paths and exposed names. `^[A-Za-z0-9_-]{1,32}$` */
  readonly slug: string;
  readonly enabled: boolean;
  readonly transport: StdioSpec | HttpSpec | SseSpec;
  /** The server sends requests to users; each client session gets a connection of its own. */
  readonly interactive: boolean;
  /** `2025`: initialize; `2026`: stateless; `auto`: initialize first, and the stateless opening if that is refused. */
  readonly era: 'auto' | '2025' | '2026';
  readonly times: CallTimes;
  /** Maximum number of calls at once; undefined for the default of its kind. */
  readonly inFlight: number | undefined;
  /** Timeouts of the start phases in ms; undefined for the defaults. */
  readonly startMs: number | undefined;
  readonly installMs: number | undefined;
  /** By native tool name. */
  readonly tools: Readonly<Record<string, ToolSetting>>;
  /** Id (1…N) of the worker that runs its child process; 0 if remote: each worker has its own link. */
  readonly homeHub: number;
  /** Values of variables in its texts: secrets, to be masked. Absent when there are none. */
  readonly inserted?: readonly string[];
  /** Digest of all settings whose change requires a reconnect. */
  readonly hash: string;
}

export interface GroupSpec {
  readonly name: string;
  readonly slug: string;
  /** `anonymous` requires no key, on loopback only. */
  readonly access: 'key' | 'anonymous';
  /** Slugs of servers, or `*` for all. */
  readonly servers: readonly string[] | '*';
  /** Native tool names by slug of the server; a server without an entry exposes all its tools. */
  readonly tools: Readonly<Record<string, readonly string[]>>;
}

export type Role = 'owner' | 'member';

export interface KeyRecord {
  readonly id: string;
  /** SHA-256 of the whole key, hex. The key itself is not stored. */
  readonly hash: string;
  /** Survives rotation; sessions are bound to user and family. */
  readonly family: string;
  readonly userId: string;
  readonly userName: string;
  readonly role: Role;
  readonly name: string;
  /** First characters, for people: `mcphub_1a2b3c4d`. */
  readonly prefix: string;
  /** Slugs of the groups that this key may use; undefined for all. */
  readonly groups: readonly string[] | undefined;
  /** Time of expiry in ms of the wall clock; undefined when the key does not expire. */
  readonly expiresAtMs: number | undefined;
}

export type ItemKind = 'tool' | 'prompt' | 'resource' | 'template';

/** One tool, prompt, resource or template as listed, repaired where clients of the older eras would fail. */
export interface Listed {
  /** The server's own name for it: the name of a tool or prompt, the URI of a resource, the text of a template. */
  readonly native: string;
  /** The whole JSON object as text, with the native name. */
  readonly json: string;
  /** Title, for searching. */
  readonly title: string;
  /** What was changed, as text; undefined when nothing was. */
  readonly repaired: string | undefined;
}

export interface ListedTool extends Listed {
  /** True when structuredContent that is no object must be removed: legacy clients reject its outputSchema. */
  readonly dropStructured: boolean;
}

/** The capabilities of a server that the hub uses. */
export type Declared = 'tools' | 'prompts' | 'resources' | 'subscribe' | 'completions' | 'logging';

export interface Hidden {
  readonly kind: ItemKind;
  readonly native: string;
  readonly why: string;
}

/** The last good lists of one server. */
export interface Listing {
  readonly server: string;
  /** When the server answered, in ms of the wall clock. */
  readonly atMs: number;
  /** Digest of all lists; equal digests mean that nothing has changed. */
  readonly digest: string;
  /** Digest of each list; empty for an empty list. */
  readonly digests: Readonly<Record<ItemKind, string>>;
  readonly tools: readonly ListedTool[];
  readonly prompts: readonly Listed[];
  readonly resources: readonly Listed[];
  readonly templates: readonly Listed[];
  /** What was left out and why; a row without a name is a whole list that could not be read. */
  readonly hidden: readonly Hidden[];
  readonly declared: readonly Declared[];
  /** From the server's initialize result. */
  readonly instructions: string;
  /** Negotiated protocol version; absent in listings of older versions of the hub. */
  readonly spoken?: string;
  /** How the server has to be initialized; absent for the usual way. */
  readonly opening?: LearnedOpening;
}

/**
 * Assigned names: exposed name → server slug and native name. Each kind has a namespace of its own. The exposed name of
 * a resource or template is its address: its own, or `mcphub://<slug>/…` if another server had that first.
 */
export interface GivenName {
  readonly kind: ItemKind;
  readonly exposed: string;
  readonly server: string;
  readonly native: string;
  readonly age?: number; // a smaller one was given earlier; absent = given by this worker, after all that have one
}

/** A listing that an older version may have stored. */
export type OlderListing = Pick<Listing, 'server' | 'atMs' | 'digest' | 'tools' | 'instructions'> &
  Partial<Omit<Listing, 'hidden'>> & { readonly hidden: readonly (Omit<Hidden, 'kind'> & Partial<Hidden>)[] };

/** Returns a complete listing; members that an older version did not have are empty. */
export function wholeListing(older: OlderListing): Listing {
  return {
    digests: { tool: older.digest, prompt: '', resource: '', template: '' },
    prompts: [],
    resources: [],
    templates: [],
    declared: [],
    ...older,
    hidden: older.hidden.map((row) => ({ kind: 'tool', ...row })),
  };
}

export interface Snapshot {
  readonly format: 1;
  readonly revision: number;
  /** Revision of `keys`, from the same counter as `revision`: keys can change alone. */
  readonly keysRevision: number;
  readonly servers: readonly ServerSpec[];
  readonly groups: readonly GroupSpec[];
  readonly keys: readonly KeyRecord[];
  readonly listings: readonly Listing[];
  readonly names: readonly GivenName[];
  /** Servers whose lists are not in `listings` because they exceed `snapshotBytes`; absent when there are none. */
  readonly catalogsTooLarge?: readonly CatalogSize[] | undefined;
  /** Limits that differ from their defaults, by name. */
  readonly limits: Readonly<Record<string, number>>;
  readonly settings: {
    /** Host names and Origins accepted besides loopback. */
    readonly allowedHosts: readonly string[];
    readonly allowedOrigins: readonly string[];
    /** Addresses and networks of reverse proxies whose forwarding headers count. */
    readonly trustedProxies: readonly string[];
    /** `/sse` and `/messages` of 2024-11-05 are served. */
    readonly legacySse: boolean;
    /** A key may be sent as `?key=`. */
    readonly keyInQuery: boolean;
  };
}

/** Returns a complete snapshot; members that an older version did not have get defaults. */
export function wholeSnapshot(older: Snapshot): Snapshot {
  return {
    ...older,
    settings: { ...EMPTY_SNAPSHOT.settings, ...older.settings },
    keysRevision: older.keysRevision ?? older.revision,
    listings: older.listings.map(wholeListing),
    names: older.names.map((name) => ({ ...name, kind: name.kind ?? 'tool' })),
  };
}

export const EMPTY_SNAPSHOT: Snapshot = {
  format: 1,
  revision: 0,
  keysRevision: 0,
  servers: [],
  groups: [],
  keys: [],
  listings: [],
  names: [],
  limits: {},
  settings: { allowedHosts: [], allowedOrigins: [], trustedProxies: [], legacySse: true, keyInQuery: false },
};

/** Holds the current snapshot. Only the `swap…` functions change it. */
export class SnapshotHolder {
  #current: Snapshot = EMPTY_SNAPSHOT;
  // bounded by: the modules that derive something from it
  #listeners: readonly ((now: Snapshot, before: Snapshot) => void)[] = [];

  get current(): Snapshot {
    return this.#current;
  }

  /**
   * Replaces the snapshot by a newer one; ignores an older or equal revision and returns false. Keys never return to an
   * older revision.
   */
  swap(next: Snapshot): boolean {
    const { revision, keys, keysRevision } = this.#current;
    if (next.revision <= revision) return false;
    this.#put(next.keysRevision > keysRevision ? next : { ...next, keys, keysRevision });
    return true;
  }

  /** Replaces lists and names of the same revision, without calling listeners; else returns false. */
  swapLists({ revision, listings, names }: Snapshot): boolean {
    if (revision === this.#current.revision) this.#current = { ...this.#current, listings, names };
    return revision === this.#current.revision;
  }

  /** Replaces the keys by newer ones; ignores an older or equal revision and returns false. */
  swapKeys(keys: readonly KeyRecord[], keysRevision: number): boolean {
    if (keysRevision <= this.#current.keysRevision) return false;
    this.#put({ ...this.#current, keys, keysRevision });
    return true;
  }

  #put(next: Snapshot): void {
    const before = this.#current;
    this.#current = next;
    for (const listener of this.#listeners) listener(next, before);
  }

  /** Adds a listener that is called after each swap, in order of registration. It must not throw. */
  onSwap(listener: (now: Snapshot, before: Snapshot) => void): void {
    this.#listeners = [...this.#listeners, listener];
  }
}

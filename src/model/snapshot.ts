/**
 * The world as the data plane sees it: one frozen value, swapped whole. Control builds and publishes it; hubs read one reference.
 * Promises: a reader that takes `current` once sees one consistent world for as long as it likes; a revision only rises.
 * Does not: know how it travels (`relay/`) or how it is made (`control/`). It is plain JSON data: what it holds may be secret, so files of it are 0600.
 */
import type { CatalogSize } from './catalog-size.ts';
import type { LearnedOpening } from './raw-listing.ts';

export type { RawListing, UnreadList } from './raw-listing.ts';

/** How a stdio child is started. Values are final: variables have been put in. */
export interface ProcessSpec {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the small allow-list of inherited variables; may hold secrets. */
  readonly env: Readonly<Record<string, string>>;
  /** Working directory; undefined = the directory of the configuration file. */
  readonly cwd: string | undefined;
}

export interface StdioSpec extends ProcessSpec {
  readonly kind: 'stdio';
}

/** Streamable HTTP. With `launch` the hub also runs the program that listens at `url` (`${PORT}` in the URL = a free port given to it as PORT). */
export interface HttpSpec {
  readonly kind: 'http';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly launch: ProcessSpec | undefined;
  /** False = the hub does without the GET stream. */
  readonly getStream?: false;
  /** Nobody has said the type: when it refuses the first POST as servers of HTTP+SSE do, it is taken for one. */
  readonly untyped?: true;
}

/** HTTP+SSE of 2024-11-05. */
export interface SseSpec {
  readonly kind: 'sse';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Times of one server or tool; undefined = the hub's default from the limits table. All in ms. */
export interface CallTimes {
  readonly silenceMs: number | undefined;
  readonly totalMs: number | undefined;
  /** Strict cut without regard to signs of life. */
  readonly callTimeoutMs: number | undefined;
}

export interface ToolSetting extends CallTimes {
  readonly enabled: boolean;
}

export interface ServerSpec {
  /** As configured, any letters. */
  readonly name: string;
  /** Readable ASCII form of the name, unique, persisted: used in paths and exposed names. `^[A-Za-z0-9_-]{1,32}$` */
  readonly slug: string;
  readonly enabled: boolean;
  readonly transport: StdioSpec | HttpSpec | SseSpec;
  /** Asks users questions: gets lanes (step 2). */
  readonly interactive: boolean;
  /** `2025` = initialize, `2026` = stateless; `auto` = initialize first, and the other where that is refused. */
  readonly era: 'auto' | '2025' | '2026';
  readonly times: CallTimes;
  /** Most calls inside at once; undefined = default of its kind. */
  readonly inFlight: number | undefined;
  /** Budgets of the start phases, ms; undefined = default. */
  readonly startMs: number | undefined;
  readonly installMs: number | undefined;
  /** By native tool name. */
  readonly tools: Readonly<Record<string, ToolSetting>>;
  /** Slot (1…N) of the hub that runs its child; other hubs forward to it. Remote servers: 0 = every hub has its own link. */
  readonly homeHub: number;
  /** Values that variables of its texts had: secrets, to be masked. Absent = none. */
  readonly inserted?: readonly string[];
  /** Digest of all that needs a reconnect when it changes. */
  readonly hash: string;
}

export interface GroupSpec {
  readonly name: string;
  readonly slug: string;
  /** `anonymous` needs no key, on loopback only. */
  readonly access: 'key' | 'anonymous';
  /** Slugs of servers, or `*` for all. */
  readonly servers: readonly string[] | '*';
  /** Native tool names by server slug; a server without an entry gives all its tools. */
  readonly tools: Readonly<Record<string, readonly string[]>>;
}

export type Role = 'owner' | 'member';

export interface KeyRecord {
  readonly id: string;
  /** SHA-256 of the whole key, hex. The key itself is stored nowhere. */
  readonly hash: string;
  /** Survives rotation; sessions are bound to user and family. */
  readonly family: string;
  readonly userId: string;
  readonly userName: string;
  readonly role: Role;
  readonly name: string;
  /** First characters, for people: `mcphub_1a2b3c4d`. */
  readonly prefix: string;
  /** Slugs of groups this key may use; undefined = all. */
  readonly groups: readonly string[] | undefined;
  /** Wall clock ms, or undefined = does not expire. */
  readonly expiresAtMs: number | undefined;
}

export type ItemKind = 'tool' | 'prompt' | 'resource' | 'template';

/** One thing as its server listed it, repaired where a legacy client would choke. */
export interface Listed {
  /** What its server calls it: the name of a tool or prompt, a resource's URI, a template's text. */
  readonly native: string;
  /** The whole JSON object as text, with the native name in it. */
  readonly json: string;
  /** Name for people to search by. */
  readonly title: string;
  /** What was changed, in words; undefined = nothing. */
  readonly repaired: string | undefined;
}

export interface ListedTool extends Listed {
  /** True = structuredContent that is no object must be taken out of results (its outputSchema was not legal for legacy clients). */
  readonly dropStructured: boolean;
}

/** What a server declared of itself, as far as the hub acts on it. */
export type Declared = 'tools' | 'prompts' | 'resources' | 'subscribe' | 'completions' | 'logging';

export interface Hidden {
  readonly kind: ItemKind;
  readonly native: string;
  readonly why: string;
}

/** Last known good lists of one server. */
export interface Listing {
  readonly server: string;
  /** Wall clock ms of the answer. */
  readonly atMs: number;
  /** Digest of all lists together: equal digest = nothing changed. */
  readonly digest: string;
  /** Digest of each list alone; empty = an empty list. */
  readonly digests: Readonly<Record<ItemKind, string>>;
  readonly tools: readonly ListedTool[];
  readonly prompts: readonly Listed[];
  readonly resources: readonly Listed[];
  readonly templates: readonly Listed[];
  /** What was left out and why; a row without a name is a whole list that could not be read. */
  readonly hidden: readonly Hidden[];
  readonly declared: readonly Declared[];
  /** From the server's initialize answer. */
  readonly instructions: string;
  /** The protocol version that was spoken; absent in listings of older hubs. */
  readonly spoken?: string;
  /** How it has to be initialized; absent = as usual. */
  readonly opening?: LearnedOpening;
}

/**
 * Names given once: exposed name → server slug and native name. Each kind has a space of its own. A resource's or template's exposed name is its
 * address: its own, or `mcphub://<slug>/…` where another server had that first.
 */
export interface GivenName {
  readonly kind: ItemKind;
  readonly exposed: string;
  readonly server: string;
  readonly native: string;
  readonly age?: number; // a smaller one was given earlier; absent = given by this worker, after all that have one
}

/** A listing as an older version may have kept it. */
export type OlderListing = Pick<Listing, 'server' | 'atMs' | 'digest' | 'tools' | 'instructions'> &
  Partial<Omit<Listing, 'hidden'>> & { readonly hidden: readonly (Omit<Hidden, 'kind'> & Partial<Hidden>)[] };

/** What an older version did not know is empty. */
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
  /** Revision of `keys`, from the same counter as `revision`: keys change without the rest. */
  readonly keysRevision: number;
  readonly servers: readonly ServerSpec[];
  readonly groups: readonly GroupSpec[];
  readonly keys: readonly KeyRecord[];
  readonly listings: readonly Listing[];
  readonly names: readonly GivenName[];
  /** Servers whose lists are not in `listings`, because they do not fit in snapshotBytes; absent = none. */
  readonly catalogsTooLarge?: readonly CatalogSize[] | undefined;
  /** Values that differ from the limits table's defaults, by limit name. */
  readonly limits: Readonly<Record<string, number>>;
  readonly settings: {
    /** Extra Host names and Origins accepted besides loopback. */
    readonly allowedHosts: readonly string[];
    readonly allowedOrigins: readonly string[];
    /** Addresses and networks of reverse proxies whose forwarding headers count. */
    readonly trustedProxies: readonly string[];
    /** `/sse` and `/messages` of 2024-11-05 are served. */
    readonly legacySse: boolean;
    /** A key may come as `?key=`. */
    readonly keyInQuery: boolean;
  };
}

/** The same for a whole world, as an older version wrote or sent it. */
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

/** The one reference. `swap` is the only write. */
export class SnapshotHolder {
  #current: Snapshot = EMPTY_SNAPSHOT;
  #listeners: readonly ((now: Snapshot, before: Snapshot) => void)[] = []; // bounded by: the rooms that derive something from it

  get current(): Snapshot {
    return this.#current;
  }

  /** Takes a newer snapshot; an older or equal revision is ignored (returns false). Keys never go back to an older revision. */
  swap(next: Snapshot): boolean {
    const { revision, keys, keysRevision } = this.#current;
    if (next.revision <= revision) return false;
    this.#put(next.keysRevision > keysRevision ? next : { ...next, keys, keysRevision });
    return true;
  }

  /** Takes other lists and names of the same revision (of another: returns false); listeners are not called. */
  swapLists({ revision, listings, names }: Snapshot): boolean {
    if (revision === this.#current.revision) this.#current = { ...this.#current, listings, names };
    return revision === this.#current.revision;
  }

  /** Takes newer keys; an older or equal revision is ignored (returns false). */
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

  /** Called after each swap, in order of registration. Must not throw. */
  onSwap(listener: (now: Snapshot, before: Snapshot) => void): void {
    this.#listeners = [...this.#listeners, listener];
  }
}

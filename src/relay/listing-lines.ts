/**
 * Encodes a listing for the relay as lines of about 128 KiB of rows and a final line with everything else, and
 * assembles it again.
 * Guarantees: only complete listings are returned; a connection assembles one listing at a time, limited in bytes.
 */
import type { GivenName, Listing } from '../model/snapshot.ts';
import type { RowsMessage } from './relay-messages.ts';

/** Approximate characters of the rows of one line; a longer row has its own line. */
const LINE_CHARS = 128 * 1024;
const LISTS = ['tools', 'prompts', 'resources', 'templates'] as const;

export type ListName = (typeof LISTS)[number] | 'names';
/** Identifies the listing to which rows belong; the same in all its lines. */
export interface ListingVersion {
  readonly server: string;
  readonly version: string;
}

/** A listing without its rows, and the number of rows. */
export interface ListingEnd {
  readonly listing: Omit<Listing, (typeof LISTS)[number]>;
  readonly counts: Readonly<Partial<Record<ListName, number>>>;
}

/** Yields the rows of a listing as lines. */
export function* rowLines(listing: Listing, version: string): Generator<Buffer, void> {
  for (const list of LISTS) yield* encodeRows(list, listing[list], { server: listing.server, version });
}

/** Yields names as lines. */
export function nameLines(names: readonly GivenName[], of: ListingVersion): Generator<Buffer, void> {
  return encodeRows('names', names, of);
}

function* encodeRows(list: ListName, rows: readonly object[], of: ListingVersion): Generator<Buffer, void> {
  const head = `${JSON.stringify({ t: 'rows', ...of, list }).slice(0, -1)},"rows":[`;
  let text = '';
  for (const row of rows) {
    text += text === '' ? head : ',';
    text += JSON.stringify(row);
    if (text.length < LINE_CHARS) continue;
    yield Buffer.from(`${text}]}\n`);
    text = '';
  }
  if (text !== '') yield Buffer.from(`${text}]}\n`);
}

/** Returns the content of the line that follows the rows. */
export function withoutRows({ tools, prompts, resources, templates, ...listing }: Listing): ListingEnd {
  const counts = {
    tools: tools.length,
    prompts: prompts.length,
    resources: resources.length,
    templates: templates.length,
  };
  return { listing, counts };
}

/** Collects the rows of one listing. */
export class RowsInbox {
  readonly #maxBytes: () => number;
  #of: ListingVersion | undefined;
  #rows = new Map<ListName, object[]>(); // bounded by: maxBytes
  #bytes = 0;

  constructor(maxBytes: () => number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Adds rows; `bytes` is the length of their line. Returns false when the listing is too large; it will not be
   * assembled.
   */
  add({ server, version, list, rows }: RowsMessage, bytes: number): boolean {
    if (this.#of?.server !== server || this.#of.version !== version) this.#clear({ server, version });
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes()) {
      this.#rows.clear();
      return false;
    }
    const known = this.#rows.get(list);
    if (known) for (const row of rows) known.push(row);
    else this.#rows.set(list, [...rows]);
    return true;
  }

  /** Returns the rows of one list; undefined when some are missing. */
  take(of: ListingVersion, list: ListName, count = 0): readonly object[] | undefined {
    const isMine = this.#of?.server === of.server && this.#of.version === of.version;
    const rows = (isMine && this.#rows.get(list)) || [];
    return rows.length === count ? rows : undefined;
  }

  /** Returns the assembled listing; undefined when rows are missing. `clear` drops the rows. */
  listing(version: string, { listing, counts }: ListingEnd): Listing | undefined {
    const of = { server: listing.server, version };
    const [tools, prompts, resources, templates] = LISTS.map((list) => this.take(of, list, counts[list]));
    if (!tools || !prompts || !resources || !templates) return undefined;
    return { ...listing, tools, prompts, resources, templates } as Listing;
  }

  clear(): void {
    this.#clear(undefined);
  }

  #clear(of: ListingVersion | undefined): void {
    this.#of = of;
    this.#rows = new Map();
    this.#bytes = 0;
  }
}

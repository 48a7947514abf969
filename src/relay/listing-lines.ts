/**
 * A listing on its way between control and a worker: rows in lines of about 128 KiB, then one line with everything else.
 * Guarantees: a listing is used when it is whole; of one connection one listing at a time is put together, up to a number of bytes.
 */
import type { GivenName, Listing } from '../kernel/snapshot.ts';
import type { RowsWord } from './relay-messages.ts';

/** Characters of the rows of one line, about; a longer row has a line of its own. */
const LINE_CHARS = 128 * 1024;
const LISTS = ['tools', 'prompts', 'resources', 'templates'] as const;

export type ListName = (typeof LISTS)[number] | 'names';
/** Which listing rows belong to; the same in all its lines. */
export interface RowsOf {
  readonly server: string;
  readonly version: string;
}

/** A listing without its rows, and how many there are. */
export interface ListingEnd {
  readonly listing: Omit<Listing, (typeof LISTS)[number]>;
  readonly counts: Readonly<Partial<Record<ListName, number>>>;
}

/** Yields the rows of a listing as lines. */
export function* rowLines(listing: Listing, version: string): Generator<Buffer, void> {
  for (const list of LISTS) yield* linesOf(list, listing[list], { server: listing.server, version });
}

/** Yields names as lines. */
export function nameLines(names: readonly GivenName[], of: RowsOf): Generator<Buffer, void> {
  return linesOf('names', names, of);
}

function* linesOf(list: ListName, rows: readonly object[], of: RowsOf): Generator<Buffer, void> {
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

/** What the line after the rows says. */
export function listingEnd({ tools, prompts, resources, templates, ...listing }: Listing): ListingEnd {
  const counts = {
    ...{ tools: tools.length, prompts: prompts.length },
    ...{ resources: resources.length, templates: templates.length },
  };
  return { listing, counts };
}

/** Rows of one listing as they come in. */
export class RowsInbox {
  readonly #maxBytes: number;
  #of: RowsOf | undefined;
  #rows = new Map<ListName, object[]>(); // bounded by: maxBytes
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** `bytes` = those of the line. False = too many: the listing will not be put together. */
  add({ server, version, list, rows }: RowsWord, bytes: number): boolean {
    if (this.#of?.server !== server || this.#of.version !== version) this.#clear({ server, version });
    this.#bytes += bytes;
    if (this.#bytes > this.#maxBytes) {
      this.#rows.clear();
      return false;
    }
    const known = this.#rows.get(list);
    if (known) for (const row of rows) known.push(row);
    else this.#rows.set(list, [...rows]);
    return true;
  }

  /** The rows of one list, empty if none have come; undefined = they are not all here. */
  take(of: RowsOf, list: ListName, count = 0): readonly object[] | undefined {
    const isMine = this.#of?.server === of.server && this.#of.version === of.version;
    const rows = (isMine && this.#rows.get(list)) || [];
    return rows.length === count ? rows : undefined;
  }

  /** The listing whose rows have come; undefined = they are not all here. Its rows are forgotten with `clear`. */
  listing(version: string, { listing, counts }: ListingEnd): Listing | undefined {
    const of = { server: listing.server, version };
    const [tools, prompts, resources, templates] = LISTS.map((list) => this.take(of, list, counts[list]));
    if (!tools || !prompts || !resources || !templates) return undefined;
    return { ...listing, tools, prompts, resources, templates } as Listing;
  }

  clear(): void {
    this.#clear(undefined);
  }

  #clear(of: RowsOf | undefined): void {
    this.#of = of;
    this.#rows = new Map();
    this.#bytes = 0;
  }
}

/**
 * The pending requests of one connection by id, and the ids themselves. All operations take constant time.
 * Guarantees: ids are positive integers from 1, used once for the first million requests (specification, basic
 * protocol, requests). After that, ids that were answered are reused, the least recent first, because some servers
 * refuse ids above 1,000,000 or 2³¹. An unanswered id is never reused, so that a late answer matches no other request.
 */
import { Capped, type ContainerLimits } from '../../runtime/container-limits.ts';

/** The largest id that is reused. */
const MOST_ID = 2 ** 31 - 1;
/** Maximum number of pending requests. */
const MOST = 8192;
/** The smallest number of slots; doubled while more than half of them are taken. */
const PLACES = 16;
/** Number of ids that wait for reuse; each waits for about as many requests. */
const RESTING = 65_536;
/** From this id on, waiting ids are reused. */
const REUSE_FROM = 1_000_000 - RESTING;
/** An id is reused when this many others wait behind it. */
const LEAST_RESTING = 4096;

export class RequestTable<T> extends Capped {
  /** The lowest bits of an id are its slot; an id whose slot is taken is skipped. */
  #places: ({ readonly id: number; readonly item: T } | undefined)[] = []; // bounded by: 2 × MOST
  #used = 0;
  #next = 1;
  readonly #reuseFrom: number;
  /** A ring buffer, created when it is needed. */
  #resting: Int32Array | undefined;
  #oldest = 0;
  #rested = 0;

  /** `reuseFrom`: see `REUSE_FROM`; tests use another figure. */
  constructor(name: string, ceilings: ContainerLimits, reuseFrom: number = REUSE_FROM) {
    super(name, MOST, 'refuse', ceilings);
    this.#reuseFrom = reuseFrom;
    this.#places.length = PLACES;
  }

  get size(): number {
    return this.#used;
  }

  /** Takes a slot for what `make` returns. Returns its id, or −1 when `MOST` are pending. */
  add(make: (id: number) => T): number {
    if (this.#used >= MOST) {
      this.overflowed += 1;
      return -1;
    }
    if (this.#used * 2 >= this.#places.length) this.#widen();
    const id = this.#freeId();
    this.#places[this.#placeOf(id)] = { id, item: make(id) };
    this.#used += 1;
    this.mark();
    return id;
  }

  /** Returns an unused id, for a message that the table does not hold. */
  takeId(): number {
    const id = this.#next;
    this.#next += 1;
    return id;
  }

  /** Sets the lowest id from now on: smaller ones were used in the session that the connection continues. */
  startFrom(id: number): void {
    this.#next = Math.max(this.#next, id);
  }

  at(id: number): T | undefined {
    const place = this.#places[this.#placeOf(id)];
    return place?.id === id ? place.item : undefined;
  }

  /** Frees an id. `isAnswered`: no other answer to it is expected. */
  free(id: number, isAnswered: boolean): void {
    if (this.at(id) === undefined) return;
    this.#places[this.#placeOf(id)] = undefined;
    this.#used -= 1;
    if (isAnswered && this.#next >= this.#reuseFrom) this.#rest(id);
  }

  *values(): Generator<T> {
    for (const place of this.#places) if (place !== undefined) yield place.item;
  }

  #placeOf(id: number): number {
    return id & (this.#places.length - 1);
  }

  /** Returns a free id. At least half of the slots are free, so that few ids are skipped. */
  #freeId(): number {
    for (;;) {
      const id = this.#rested > LEAST_RESTING ? this.#longestRested() : this.takeId();
      if (this.#places[this.#placeOf(id)] === undefined) return id;
      if (this.#next >= this.#reuseFrom) this.#rest(id);
    }
  }

  #longestRested(): number {
    const id = this.#resting?.[this.#oldest] as number;
    this.#oldest = (this.#oldest + 1) % RESTING;
    this.#rested -= 1;
    return id;
  }

  #rest(id: number): void {
    this.#resting ??= new Int32Array(RESTING);
    if (this.#rested === RESTING || id > MOST_ID) return;
    this.#resting[(this.#oldest + this.#rested) % RESTING] = id;
    this.#rested += 1;
  }

  #widen(): void {
    const before = this.#places;
    this.#places = [];
    this.#places.length = before.length * 2;
    for (const place of before) if (place !== undefined) this.#places[this.#placeOf(place.id)] = place;
  }
}

/**
 * The connections of a listener, by address, or by key once a request on them was identified; a trusted proxy's count
 * for the key of the pending request only.
 * Guarantees: at most `connections`; an owner above its share of idle ones loses its oldest; at the limit silent ones
 * are closed first, those without a key keep a quarter, then the owner with most loses its oldest.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TrustedProxies } from '../auth/trusted-proxies.ts';
import type { Limits } from '../config/limits.ts';
import { ANONYMOUS_PRINCIPAL, isAddressShare, shareOf } from '../model/principal.ts';
import { CappedCount } from '../runtime/capped.ts';
import type { Runtime } from '../runtime/runtime.ts';

export interface ConnectionTableParts {
  readonly runtime: Pick<Runtime, 'ceilings' | 'clock'>;
  readonly limits: Pick<Limits, 'connections' | 'connectionsPerAddress' | 'connectionsPerKey'>;
  readonly name: string;
  readonly proxies: Pick<TrustedProxies, 'has'>;
  /** Closes a connection that was removed from the table. `isNew`: it has sent no request. */
  readonly close: (socket: Socket, isNew: boolean) => void;
}

/** The connections of one owner. */
interface Holder {
  readonly owner: string;
  /** False for an address: no key is known. */
  readonly isKey: boolean;
  total: number;
  /** Those without a pending request, oldest first. */
  readonly waiting: Set<Socket>; // bounded by: connections
}

interface Entry {
  readonly table: ConnectionTable;
  readonly sinceMs: number;
  /** The connection of a trusted proxy or another worker. */
  readonly isShared: boolean;
  /** Undefined when it counts for no owner. */
  holder: Holder | undefined;
  isNew: boolean;
  /** A request on it was identified. */
  isNamed: boolean;
  hasLeft: boolean;
}

/** Most connections closed at once, so that finding the owner with most of them costs little for each. */
const MOST_AT_ONCE = 32;
/** A key with at most this part of all connections keeps those with a pending request. */
const FEW_PART = 256;
/** At the limit, connections without a key keep this part of all, and no more. */
const UNIDENTIFIED_PART = 4;
/** A connection that has sent nothing for this long is silent, ms. */
const SILENT_MS = 1000;
/**
 * The same, ms, if more addresses hold one connection each than there are places: clients that send at once must get
 * in.
 */
const FIRST_BYTES_MS = 100;
const ENTRY = Symbol('entry of a connection');

type Counted = Socket & { [ENTRY]?: Entry };

/** Counts the connection of an identified request for its key from now on. */
export function countConnectionFor({ socket }: IncomingMessage, owner: string): void {
  const entry = (socket as Counted)[ENTRY];
  if (entry) entry.table.name(entry, owner);
}

export class ConnectionTable {
  readonly #parts: ConnectionTableParts;
  readonly #places: CappedCount;
  /** Oldest first. */
  readonly #entries = new Map<Socket, Entry>(); // bounded by: connections
  readonly #holders = new Map<string, Holder>(); // bounded by: connections
  /** Those of addresses that have sent no request, oldest first. */
  readonly #new = new Set<Socket>(); // bounded by: connections
  /** Number of connections that count for an address. */
  #unidentified = 0;

  constructor(parts: ConnectionTableParts) {
    this.#parts = parts;
    const { runtime, limits, name } = parts;
    const max = () => limits.connections;
    this.#places = new CappedCount(`downstream.connections.${name}`, max, 'refuse', runtime.ceilings);
  }

  get size(): number {
    return this.#places.size;
  }

  /** Returns the owner of a connection; undefined for none, when many clients share it. */
  ownerOf(socket: Socket): string | undefined {
    return this.#entries.get(socket)?.holder?.owner;
  }

  /** Adds a new connection, in place of another one if necessary; returns false when there is no place. */
  admit(socket: Socket): boolean {
    const owner = this.#addressOwner(socket);
    if (!this.#places.take() && !(this.#makeRoom(owner) && this.#places.take())) return false;
    const holder = owner === undefined ? undefined : this.#hold(owner);
    const sinceMs = this.#parts.runtime.clock.nowMs();
    const state = { isShared: !holder, isNew: true, isNamed: false, hasLeft: false };
    const entry: Entry = { table: this, sinceMs, holder, ...state };
    this.#entries.set(socket, entry);
    (socket as Counted)[ENTRY] = entry;
    if (holder) this.#new.add(socket);
    this.#wait(socket, entry);
    return true;
  }

  /** A request has come. */
  begins(socket: Socket): void {
    const entry = (socket as Counted)[ENTRY];
    if (entry === undefined || entry.hasLeft) return;
    if (entry.isNew) this.#new.delete(socket);
    entry.isNew = false;
    entry.holder?.waiting.delete(socket);
  }

  /** Counts the pending request on the connection of `entry` for `owner`. */
  name(entry: Entry, owner: string): void {
    entry.isNamed = true;
    if (entry.holder?.owner === owner || entry.hasLeft) return;
    this.#release(entry);
    entry.holder = this.#hold(owner);
  }

  /** All requests were answered. */
  rests(socket: Socket): void {
    const entry = (socket as Counted)[ENTRY];
    if (entry === undefined || entry.hasLeft) return;
    if (entry.isShared) this.#release(entry);
    else this.#wait(socket, entry);
  }

  leave(socket: Socket): void {
    const entry = this.#entries.get(socket);
    if (!entry) return;
    this.#entries.delete(socket);
    this.#new.delete(socket);
    entry.hasLeft = true;
    entry.holder?.waiting.delete(socket);
    this.#release(entry);
    this.#places.give();
  }

  /** Returns undefined for trusted proxies, and for other workers, which use a unix socket. */
  #addressOwner({ remoteAddress }: Socket): string | undefined {
    if (remoteAddress === undefined || this.#parts.proxies.has(remoteAddress)) return undefined;
    return shareOf(ANONYMOUS_PRINCIPAL, remoteAddress);
  }

  #hold(owner: string): Holder {
    let holder = this.#holders.get(owner);
    if (!holder) {
      holder = { owner, isKey: !isAddressShare(owner), total: 0, waiting: new Set() };
      this.#holders.set(owner, holder);
    }
    holder.total += 1;
    if (!holder.isKey) this.#unidentified += 1;
    return holder;
  }

  #release(entry: Entry): void {
    const { holder } = entry;
    entry.holder = undefined;
    if (!holder) return;
    holder.total -= 1;
    if (!holder.isKey) this.#unidentified -= 1;
    if (holder.total === 0) this.#holders.delete(holder.owner);
  }

  #wait(socket: Socket, { holder, isNamed }: Entry): void {
    if (!holder) return;
    holder.waiting.add(socket);
    const { connectionsPerAddress, connectionsPerKey } = this.#parts.limits;
    if (holder.waiting.size > (isNamed ? connectionsPerKey : connectionsPerAddress)) this.#closeOldest(holder, 1);
  }

  /**
   * Makes room for a connection of `owner`, an address; returns false when no connection was closed. The own one is
   * closed when no other address has more.
   */
  #makeRoom(owner: string | undefined): boolean {
    if (this.#closeSilent(SILENT_MS)) return true;
    const reserve = Math.max(1, Math.floor(this.#parts.limits.connections / UNIDENTIFIED_PART));
    if (this.#unidentified < reserve && this.#makeRoomOfKeys()) return true;
    return this.#makeRoomOfAddresses(owner);
  }

  #makeRoomOfKeys(): boolean {
    const most = this.#greediest(true);
    if (!most) return false;
    if (most.total === 1) return this.#closeKept(true);
    if (most.waiting.size > 0) return this.#closeOldest(most, atOnce(most.waiting.size));
    const few = Math.max(1, this.#parts.limits.connections / FEW_PART);
    return most.total > few && this.#closeBusy(most, 1);
  }

  #makeRoomOfAddresses(owner: string | undefined): boolean {
    const most = this.#greediest(false, owner);
    if (!most) return false;
    if (most.total === 1) return this.#closeKept(false) || this.#closeSilent(FIRST_BYTES_MS) || this.#closeLongBusy();
    if (most.waiting.size > 0) return this.#closeOldest(most, most.owner === owner ? 1 : atOnce(most.waiting.size));
    return this.#closeBusy(most, atOnce(most.total));
  }

  /** Returns the key, or the address, with most connections; `first` if several have as many. */
  #greediest(isKey: boolean, first?: string): Holder | undefined {
    let most = first === undefined ? undefined : this.#holders.get(first);
    for (const holder of this.#holders.values())
      if (holder.isKey === isKey && holder.total > (most?.total ?? 0)) most = holder;
    return most;
  }

  #closeOldest(holder: Holder, count: number): boolean {
    let closed = 0;
    for (const socket of holder.waiting) {
      if (closed === count) break;
      closed += 1;
      this.#close(socket);
    }
    return closed > 0;
  }

  /** Closes the oldest connection that has sent nothing, unless it has just come and may be about to send. */
  #closeSilent(silentMs: number): boolean {
    const beforeMs = this.#parts.runtime.clock.nowMs() - silentMs;
    for (const socket of this.#new) {
      const entry = this.#entries.get(socket);
      if (!entry || entry.sinceMs > beforeMs) return false;
      this.#close(socket);
      return true;
    }
    return false;
  }

  #closeKept(isKey: boolean): boolean {
    for (const [socket, { holder, isNew }] of this.#entries) {
      if (isNew || holder?.isKey !== isKey || !holder.waiting.has(socket)) continue;
      this.#close(socket);
      return true;
    }
    return false;
  }

  /** Closes the oldest connection of an address that has had time for its request. */
  #closeLongBusy(): boolean {
    const beforeMs = this.#parts.runtime.clock.nowMs() - SILENT_MS;
    for (const [socket, { holder, sinceMs }] of this.#entries) {
      if (sinceMs > beforeMs) return false;
      if (!holder || holder.isKey) continue;
      this.#close(socket);
      return true;
    }
    return false;
  }

  /** Closes the oldest connections of an owner that all have a pending request. */
  #closeBusy(holder: Holder, count: number): boolean {
    let left = count;
    for (const [socket, entry] of this.#entries) {
      if (entry.holder !== holder) continue;
      this.#close(socket);
      left -= 1;
      if (left === 0) break;
    }
    return true;
  }

  #close(socket: Socket): void {
    const isNew = this.#entries.get(socket)?.isNew ?? false;
    this.leave(socket);
    this.#parts.close(socket, isNew);
  }
}

/** Returns how many of so many are closed at once. */
function atOnce(count: number): number {
  return Math.min(MOST_AT_ONCE, Math.ceil(count / 8));
}

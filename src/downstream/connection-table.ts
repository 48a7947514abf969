/**
 * Which connections a listener has, and which of them gives way. A connection counts for the address that it comes from until a request on it has
 * been identified, and for the key after that. Only connections that wait can be closed: new ones that have sent nothing, and kept ones.
 * Guarantees: never more than `connections`; an owner above its share loses its own oldest; when all places are taken, the owner with most waiting
 * connections loses its oldest, and nobody else does. Connections of trusted proxies carry many clients: they belong to nobody and stay.
 */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { TrustedProxies } from '../auth/trusted-proxies.ts';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { ANONYMOUS_PRINCIPAL, shareOf } from '../kernel/principal.ts';

export interface ConnectionTableParts {
  readonly kernel: Pick<Kernel, 'ceilings'>;
  readonly limits: Pick<Limits, 'connections' | 'connectionsPerAddress' | 'connectionsPerKey'>;
  readonly name: string;
  readonly proxies: Pick<TrustedProxies, 'has'>;
  /** Closes a connection that gives way; it has left the table. `isNew` = it has not sent a request. */
  readonly close: (socket: Socket, isNew: boolean) => void;
}

interface Entry {
  /** Undefined = nobody's. */
  owner: string | undefined;
  isNew: boolean;
}

/** Most connections that give way at once, so that finding the owner with most of them costs little for each. */
const MOST_AT_ONCE = 32;
const OWNER = Symbol('owner of a connection');

/** Counts the connection of an identified request for its key from now on. */
export function countConnectionFor({ socket }: IncomingMessage, owner: string): void {
  (socket as Socket & { [OWNER]?: string })[OWNER] = owner;
}

export class ConnectionTable {
  readonly #parts: ConnectionTableParts;
  readonly #places: CappedCount;
  readonly #entries = new Map<Socket, Entry>(); // bounded by: connections
  /** Those that wait, oldest first, by owner. */
  readonly #waiting = new Map<string, Set<Socket>>(); // bounded by: connections

  constructor(parts: ConnectionTableParts) {
    this.#parts = parts;
    const { kernel, limits, name } = parts;
    this.#places = new CappedCount(`downstream.connections.${name}`, limits.connections, 'refuse', kernel.ceilings);
  }

  get size(): number {
    return this.#places.size;
  }

  /** Takes a new connection in, if need be in the place of another; false = there is no place. */
  admit(socket: Socket): boolean {
    const owner = this.#addressOwner(socket);
    if (!this.#places.take() && !(this.#makeRoom(owner) && this.#places.take())) return false;
    this.#entries.set(socket, { owner, isNew: true });
    this.#wait(socket, owner, this.#parts.limits.connectionsPerAddress);
    return true;
  }

  /** A request has come. */
  begins(socket: Socket): void {
    const entry = this.#entries.get(socket);
    if (!entry) return;
    entry.isNew = false;
    if (entry.owner !== undefined) this.#waiting.get(entry.owner)?.delete(socket);
  }

  /** All requests have been answered. */
  rests(socket: Socket): void {
    const entry = this.#entries.get(socket);
    if (entry?.owner === undefined) return;
    const named = (socket as Socket & { [OWNER]?: string })[OWNER];
    if (named !== undefined && named !== entry.owner) {
      this.#forgetEmpty(entry.owner);
      entry.owner = named;
    }
    const { connectionsPerAddress, connectionsPerKey } = this.#parts.limits;
    this.#wait(socket, entry.owner, named === undefined ? connectionsPerAddress : connectionsPerKey);
  }

  leave(socket: Socket): void {
    const entry = this.#entries.get(socket);
    if (!entry) return;
    this.#entries.delete(socket);
    if (entry.owner !== undefined) {
      this.#waiting.get(entry.owner)?.delete(socket);
      this.#forgetEmpty(entry.owner);
    }
    this.#places.give();
  }

  /** Undefined for trusted proxies, and for other workers, which come over a unix socket. */
  #addressOwner({ remoteAddress }: Socket): string | undefined {
    if (remoteAddress === undefined || this.#parts.proxies.has(remoteAddress)) return undefined;
    return shareOf(ANONYMOUS_PRINCIPAL, remoteAddress);
  }

  #wait(socket: Socket, owner: string | undefined, share: number): void {
    if (owner === undefined) return;
    let waiting = this.#waiting.get(owner);
    if (!waiting) {
      waiting = new Set(); // bounded by: connections
      this.#waiting.set(owner, waiting);
    }
    waiting.add(socket);
    if (waiting.size > share) this.#closeOldest(waiting);
  }

  /** An empty set stays while its connection is kept, or it would be made anew for each request. */
  #forgetEmpty(owner: string): void {
    if (this.#waiting.get(owner)?.size === 0) this.#waiting.delete(owner);
  }

  /** True when somebody gave way to a connection of `owner`: itself, when nobody has more waiting ones. */
  #makeRoom(owner: string | undefined): boolean {
    let most: Set<Socket> | undefined;
    for (const waiting of this.#waiting.values()) if (waiting.size > (most?.size ?? 0)) most = waiting;
    if (!most) return false;
    const own = owner === undefined ? undefined : this.#waiting.get(owner);
    if (own && own.size >= most.size) return this.#closeOldest(own);
    const [oldest] = most;
    // Of new connections everybody may have one.
    if (most.size === 1 && oldest && this.#entries.get(oldest)?.isNew) return false;
    for (let closed = Math.min(MOST_AT_ONCE, Math.ceil(most.size / 8)); closed > 0; closed -= 1)
      this.#closeOldest(most);
    return true;
  }

  #closeOldest(waiting: Set<Socket>): boolean {
    const [socket] = waiting;
    if (!socket) return false;
    const isNew = this.#entries.get(socket)?.isNew ?? false;
    this.leave(socket);
    this.#parts.close(socket, isNew);
    return true;
  }
}

/**
 * Everything that is open on behalf of a caller: calls, streams, suspended calls, session connections, requests passed
 * to other workers. When a key is revoked, expires or is narrowed, `recheck` ends what it may no longer have.
 * Guarantees: each item ends at most once; calls end first, so that their error still finds a stream; an item that is
 * added under an outdated snapshot is checked before it is accepted; a listener that throws harms no other item.
 */

import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Principal, ViewName } from '../model/principal.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { CappedSlots } from './capped.ts';
import type { Timers } from './clock.ts';
import type { ContainerLimits } from './container-limits.ts';
import type { EventBus } from './event-bus.ts';

/** The first group ends at once, the second after the errors of the first have been written. */
const ENDS_FIRST = ['call', 'batch', 'suspended-call'] as const;
const ENDS_SECOND = ['stream', 'retained-stream', 'session-connection', 'passed-request'] as const;

export type OpenKind = (typeof ENDS_FIRST)[number] | (typeof ENDS_SECOND)[number];

/** On whose behalf something is open: the caller, what it may see, and the snapshot under which it was admitted. */
export interface Access {
  readonly principal: Principal;
  readonly viewName: ViewName;
  readonly snapshot: Snapshot;
}

/** The server that an item uses; `tool` is the native name of the tool that is called. */
export interface OpenUse {
  readonly server: string;
  readonly tool: string | undefined;
}

/** Decides whether an item may stay open. `since` is the snapshot under which it was last allowed. */
export type AccessCheck = (
  item: Pick<OpenItem, 'principal' | 'viewName' | 'use'>,
  since: Snapshot,
) => Outcome<'allowed'>;

/** Client streams, retained streams and calls, each at its highest limit, stay far below this. */
const MOST = 1_000_000;

export class OpenItem {
  readonly kind: OpenKind;
  readonly principal: Principal;
  readonly viewName: ViewName;
  readonly #registry: OpenWork;
  /** Position in the registry, which sets it; negative when it is not in the registry. */
  slot = -1;
  #use: OpenUse | undefined;
  #ended: Refusal | undefined;
  #listener: ((why: Refusal) => void) | undefined;
  #others: ((why: Refusal) => void)[] | undefined; // bounded by: the two or three parties of one item

  constructor(registry: OpenWork, kind: OpenKind, { principal, viewName }: Access) {
    this.kind = kind;
    this.principal = principal;
    this.viewName = viewName;
    this.#registry = registry;
  }

  /** Why it was ended; undefined while it is open. */
  get ended(): Refusal | undefined {
    return this.#ended;
  }

  get use(): OpenUse | undefined {
    return this.#use;
  }

  /** From now on the item depends on this server only. */
  uses(server: string, tool: string | undefined): void {
    this.#use = { server, tool };
  }

  /** Calls `listener` once when the item is ended, at once if it already is. */
  onEnd(listener: (why: Refusal) => void): void {
    if (this.#ended) return listener(this.#ended);
    if (this.#listener === undefined) this.#listener = listener;
    else if (this.#others === undefined) this.#others = [listener];
    else this.#others.push(listener);
  }

  /** Removes the item when it has finished; nothing of it has to be ended any more. */
  close(): void {
    this.#registry.remove(this);
    this.#listener = this.#others = undefined;
  }

  /** Ends it. Only the first call counts. */
  end(why: Refusal, faulted: (fault: unknown) => void): void {
    if (this.#ended) return;
    this.#ended = why;
    this.#registry.remove(this);
    const [first, others = []] = [this.#listener, this.#others];
    this.#listener = this.#others = undefined;
    for (const listener of [first, ...others]) {
      try {
        listener?.(why);
      } catch (fault) {
        faulted(fault);
      }
    }
  }
}

export class OpenWork {
  readonly #slots: CappedSlots<OpenItem>;
  readonly #timers: Timers;
  readonly #bus: EventBus;
  #check: AccessCheck | undefined;
  #current: (() => Snapshot) | undefined;

  constructor(parts: {
    readonly ceilings: ContainerLimits;
    readonly timers: Timers;
    readonly bus: EventBus;
    readonly max?: number;
  }) {
    this.#slots = new CappedSlots<OpenItem>('kernel.open-work', parts.max ?? MOST, parts.ceilings);
    this.#timers = parts.timers;
    this.#bus = parts.bus;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Sets who decides; called once, at composition. Until then nothing is ended. */
  checkWith(check: AccessCheck, current: () => Snapshot): void {
    this.#check = check;
    this.#current = current;
  }

  /**
   * Registers something that stays open. Refused when its caller has lost the right meanwhile, or `overloaded` when the
   * registry is full.
   */
  add(kind: OpenKind, access: Access): Outcome<OpenItem> {
    const item = new OpenItem(this, kind, access);
    item.slot = this.#slots.add(item);
    if (item.slot < 0) return new Refusal('overloaded');
    const refusal = this.#refusal(item, access.snapshot);
    if (refusal) item.close();
    return refusal ?? item;
  }

  /**
   * Returns why this caller has lost its right since it was admitted: for work that has waited without being
   * registered.
   */
  refusalFor(access: Access): Refusal | undefined {
    return this.#refusal({ ...access, use: undefined }, access.snapshot);
  }

  #refusal(item: Parameters<AccessCheck>[0], since: Snapshot): Refusal | undefined {
    if (!this.#check || !this.#current || since === this.#current()) return undefined;
    const result = this.#check(item, since);
    return isRefusal(result) ? result : undefined;
  }

  /** Ends one item; a listener that throws harms no other. */
  end(item: OpenItem, why: Refusal): void {
    item.end(why, this.#faulted);
  }

  remove(item: OpenItem): void {
    if (this.#slots.at(item.slot) === item) this.#slots.free(item.slot);
  }

  /**
   * Ends what is no longer allowed; `done` gets the number of items, after the last has ended (about 1 ms later when
   * there are any).
   */
  recheck(since: Snapshot, done: (ended: number) => void): void {
    const check = this.#check;
    const lost: { readonly item: OpenItem; readonly why: Refusal }[] = []; // bounded by: the registry
    if (check)
      for (const item of this.#slots.values()) {
        const result = check(item, since);
        if (isRefusal(result)) lost.push({ item, why: result });
      }
    if (lost.length === 0) return done(0);
    const end = (kinds: readonly OpenKind[]): void => {
      for (const { item, why } of lost) if (kinds.includes(item.kind)) item.end(why, this.#faulted);
    };
    end(ENDS_FIRST);
    // Answers of calls are written in the microtasks that follow.
    this.#timers.after(0, () => {
      end(ENDS_SECOND);
      done(lost.length);
    });
  }

  readonly #faulted = (fault: unknown): void => {
    this.#bus.publish({ type: 'task-faulted', task: 'end of access', fault });
  };
}

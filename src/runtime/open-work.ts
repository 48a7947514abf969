/**
 * Everything that is open on behalf of a caller: calls, streams, suspended calls, session connections, requests passed
 * to other workers. When a key is revoked, expires or is narrowed, `recheck` ends what it may no longer have.
 * Guarantees: each item ends at most once; calls end first, so that their error still finds a stream; an item that is
 * added under an outdated snapshot is checked before it is accepted; a listener that throws harms no other item.
 */

import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { CappedSlots } from './capped-slots.ts';
import type { Timers } from './clock.ts';
import type { ContainerLimits } from './container-limits.ts';
import type { EventBus } from './event-bus.ts';
import { type Access, ENDS_FIRST, ENDS_SECOND, OpenItem, type OpenKind } from './open-item.ts';

/** Decides whether an item may stay open. `since` is the snapshot under which it was last allowed. */
export type AccessCheck = (
  item: Pick<OpenItem, 'principal' | 'viewName' | 'use'>,
  since: Snapshot,
) => Outcome<'allowed'>;

/** Client streams, retained streams and calls, each at its highest limit, stay far below this. */
const MOST = 1_000_000;

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

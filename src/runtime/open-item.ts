/**
 * One thing that is open on behalf of a caller, in the registry of `open-work.ts`.
 * Guarantees: ends at most once; each listener is called once, also when it is added after the end; a listener that
 * throws does not keep the others from being called.
 */
import type { Refusal } from '../model/outcome.ts';
import type { Principal, ViewName } from '../model/principal.ts';
import type { Snapshot } from '../model/snapshot.ts';

/** The first group ends at once, the second after the errors of the first have been written. */
export const ENDS_FIRST = ['call', 'batch', 'suspended-call'] as const;
export const ENDS_SECOND = ['stream', 'retained-stream', 'session-connection', 'passed-request'] as const;

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

/** Where the item is registered until it ends. */
interface OpenItemRegistry {
  remove(item: OpenItem): void;
}

export class OpenItem {
  readonly kind: OpenKind;
  readonly principal: Principal;
  readonly viewName: ViewName;
  readonly #registry: OpenItemRegistry;
  /** Position in the registry, which sets it; negative when it is not in the registry. */
  slot = -1;
  #use: OpenUse | undefined;
  #ended: Refusal | undefined;
  #listener: ((why: Refusal) => void) | undefined;
  #others: ((why: Refusal) => void)[] | undefined; // bounded by: the two or three parties of one item

  constructor(registry: OpenItemRegistry, kind: OpenKind, { principal, viewName }: Access) {
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

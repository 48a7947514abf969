/**
 * The event bus: what has happened, in the past tense. Modules publish events; they do not log, count or alert.
 * Guarantees: `publish` is synchronous and never throws; a listener that throws is counted and skipped; no listener
 * sees a configured secret. A listener that needs time keeps a capped queue of its own.
 */
import type { HubEvent } from '../model/events.ts';
import { maskedEvent } from '../model/masked-event.ts';
import type { SecretMask } from '../model/secret-mask.ts';

export type HubEventListener = (fact: HubEvent) => void;

export class EventBus {
  readonly #secrets: SecretMask | undefined;
  #listeners: readonly HubEventListener[] = []; // bounded by: the modules that listen (telemetry, health, relay)
  #brokenListeners = 0;

  constructor(secrets?: SecretMask) {
    this.#secrets = secrets;
  }

  /** Number of times that a listener threw, since the start. */
  get brokenListeners(): number {
    return this.#brokenListeners;
  }

  publish(published: HubEvent): void {
    const fact =
      this.#secrets === undefined || this.#secrets.size === 0 ? published : maskedEvent(published, this.#secrets);
    for (const listener of this.#listeners) {
      try {
        listener(fact);
      } catch {
        this.#brokenListeners += 1;
      }
    }
  }

  /** Adds a listener; returns a function that removes it. */
  listen(listener: HubEventListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }
}

/**
 * Sends log level and subscriptions to a server on one connection: after each handshake, so that a reconnect loses
 * nothing, and when they change.
 * Guarantees: nothing waits for it; each request ends by `handshakeMs`; a server without the capability gets no
 * request.
 */
import type { Limits } from '../../config/limits.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { jsonBytes } from '../../protocol/json-text.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import type { Correlator } from './correlator.ts';

export interface WantedUpdatesParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
  readonly clientContext: ClientContext;
}

/** Changes within this time are sent together, ms. */
const TOGETHER_MS = 50;

export class WantedUpdates implements Disposable {
  readonly #parts: WantedUpdatesParts;
  #hello: InitializeResult | undefined;
  #level: string | undefined;
  #soon: Disposable | undefined;
  #told = new Set<string>(); // bounded by: the client side's subscriptions

  constructor(parts: WantedUpdatesParts) {
    this.#parts = parts;
  }

  /** Sends everything after a handshake. */
  tell(hello: InitializeResult): void {
    this.#hello = hello;
    this.#level = undefined;
    this.#told = new Set();
    this.sync();
  }

  /** Records that a call of a session has already sent this subscription. */
  told(uri: string, isWanted: boolean): void {
    if (isWanted) this.#told.add(uri);
    else this.#told.delete(uri);
  }

  /** Sends changes after a short delay, together with others: sessions begin and end by the hundred. */
  syncSoon(): void {
    this.#soon ??= this.#parts.runtime.timers.after(TOGETHER_MS, () => {
      this.#soon = undefined;
      this.sync();
    });
  }

  [Symbol.dispose](): void {
    this.#soon?.[Symbol.dispose]();
    this.#soon = undefined;
  }

  /** Subscribes to the resources among these that are new, at a cost that does not depend on the others. */
  add(uris: readonly string[]): void {
    if (!this.#canSubscribe) return;
    for (const uri of uris) {
      if (this.#told.has(uri)) continue;
      this.#told.add(uri);
      this.#ask('resources/subscribe', { uri });
    }
  }

  get #canSubscribe(): boolean {
    const resources = this.#hello?.capabilities.resources;
    return typeof resources === 'object' && resources !== null && 'subscribe' in resources;
  }

  /** Sends what the server does not have yet. */
  sync(): void {
    this.levelChanged();
    if (!this.#canSubscribe) return;
    const uris = this.#parts.clientContext.subscriptions();
    const wanted = new Set(uris); // bounded by: the client side's subscriptions
    for (const uri of wanted) if (!this.#told.has(uri)) this.#ask('resources/subscribe', { uri });
    for (const uri of this.#told) if (!wanted.has(uri)) this.#ask('resources/unsubscribe', { uri });
    this.#told = wanted;
  }

  levelChanged(): void {
    const level = this.#parts.clientContext.logLevel();
    if (level === undefined || level === this.#level || this.#hello?.capabilities.logging === undefined) return;
    this.#level = level;
    this.#ask('logging/setLevel', { level });
  }

  #ask(method: string, params: object): void {
    const { runtime, limits, server, correlator } = this.#parts;
    const budget = new CallBudget(runtime.deadline(limits.handshakeMs), 'handshakeMs');
    const text = jsonBytes(params);
    const asked = correlator.ask(
      {
        method,
        owner: server,
        budget,
        label: 'upstream-call',
        back: SILENT_BACK_CHANNEL,
      },
      () => text,
    );
    // Whatever the answer is, nothing else changes.
    if (asked instanceof Promise) void asked.then(() => budget[Symbol.dispose]());
    else budget[Symbol.dispose]();
  }
}

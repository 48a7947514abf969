/**
 * Keeps one `subscriptions/listen` request open, on which a stateless server reports changed lists and resources
 * (specification 2026-07-28, subscriptions).
 * Guarantees: requests only what the server declares; when the filter changes, the new request is open before the old
 * one ends; after a backoff a lost request is reopened and the lists are read again, unless the method is unknown.
 */

import { isRefusal, type Outcome } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import type { ClientContext } from '../client-context.ts';
import type { ConnectionReports } from './connection-parts.ts';
import type { Correlator } from './correlator.ts';

/** Longest time for which one request stays open, ms; servers and proxies end it sooner. */
const OPEN_MS = 12 * 60 * 60 * 1000;
/** Changes within this time are sent together, ms. */
const TOGETHER_MS = 50;
/** Longest time for which two requests are open when a server sends no acknowledgement, ms. */
const BOTH_MS = 10_000;
const REST = { baseMs: 1000, capMs: 30_000 } as const;
/** A request that was open this long resets the backoff, ms. */
const STEADY_MS = 60_000;
const NOTHING = '{}';

export interface ListenStreamParts {
  readonly runtime: Runtime;
  readonly server: string;
  readonly correlator: Correlator;
  readonly clientContext: Pick<ClientContext, 'lists' | 'subscriptions'>;
  readonly owner: Pick<ConnectionReports, 'listChanged'>;
}

interface Stream {
  readonly deadline: Deadline;
  readonly bornMs: number;
}

export class ListenStream implements Disposable {
  readonly #parts: ListenStreamParts;
  readonly #capabilities: InitializeResult['capabilities'];
  #current: Stream | undefined;
  /** Ends when the current one is acknowledged. */
  #former: Stream | undefined;
  /** The filter of the current one, JSON text. */
  #wanted = NOTHING;
  #failures = 0;
  /** No request was open for a while. */
  #isGap = false;
  #timer: Disposable | undefined;
  #over = false;

  constructor(parts: ListenStreamParts, capabilities: InitializeResult['capabilities']) {
    this.#parts = parts;
    this.#capabilities = capabilities;
    this.#open();
  }

  /** Call this when subscriptions or preferences may have changed. */
  preferencesChanged(): void {
    if (!this.#isResting) this.#later(TOGETHER_MS);
  }

  /** Records that the server has acknowledged the request. */
  acknowledged(): void {
    this.#endFormer();
    if (this.#isGap) this.#parts.owner.listChanged();
    this.#isGap = false;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
    this.#endFormer();
    this.#current?.deadline.end('stopped');
  }

  /** After the backoff the newest filter is sent anyway. */
  get #isResting(): boolean {
    return this.#current === undefined && this.#timer !== undefined;
  }

  #later(ms: number): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#parts.runtime.timers.after(ms, () => {
      this.#timer = undefined;
      this.#open();
    });
  }

  #open(): void {
    const wanted = this.#filter();
    if (this.#over || (this.#current && wanted === this.#wanted)) return;
    this.#wanted = wanted;
    this.#endFormer();
    this.#former = this.#current;
    this.#current = undefined;
    if (wanted === NOTHING) return this.#endFormer();
    const { runtime, server, correlator } = this.#parts;
    const stream: Stream = { deadline: runtime.deadline(OPEN_MS), bornMs: runtime.clock.nowMs() };
    this.#current = stream;
    if (this.#former) runtime.timers.after(BOTH_MS, () => this.#current === stream && this.#endFormer());
    const asked = correlator.ask(
      {
        method: 'subscriptions/listen',
        label: 'upstream-listen',
        owner: server,
        back: SILENT_BACK_CHANNEL,
        budget: new CallBudget(stream.deadline, 'listMs'),
      },
      () => Buffer.from(`{"notifications":${wanted}}`),
    );
    if (asked instanceof Promise) void asked.then((answer) => this.#ended(stream, answer));
    else this.#ended(stream, asked);
  }

  #ended(stream: Stream, answer: Outcome<UpstreamReply>): void {
    stream.deadline[Symbol.dispose]();
    if (this.#former === stream) this.#former = undefined;
    if (this.#current !== stream || this.#over) return;
    this.#current = undefined;
    if (!isRefusal(answer) && answer.kind === 'error') return;
    this.#isGap = true;
    const { runtime } = this.#parts;
    this.#failures = runtime.clock.nowMs() - stream.bornMs >= STEADY_MS ? 1 : this.#failures + 1;
    this.#later(backoffMs(this.#failures, REST, runtime.random));
  }

  #endFormer(): void {
    const former = this.#former;
    this.#former = undefined;
    former?.deadline.end('cancelled');
  }

  /** Returns the filter. List changes are requested on the shared link only, where lists are read. */
  #filter(): string {
    const { clientContext } = this.#parts;
    const { tools, prompts, resources } = this.#capabilities;
    const uris = can(resources, 'subscribe') ? [...clientContext.subscriptions()].sort() : [];
    return JSON.stringify({
      ...(clientContext.lists && can(tools, 'listChanged') ? { toolsListChanged: true } : {}),
      ...(clientContext.lists && can(prompts, 'listChanged') ? { promptsListChanged: true } : {}),
      ...(clientContext.lists && can(resources, 'listChanged') ? { resourcesListChanged: true } : {}),
      ...(uris.length > 0 ? { resourceSubscriptions: uris } : {}),
    });
  }
}

function can(capability: unknown, what: string): boolean {
  return typeof capability === 'object' && capability !== null && Reflect.get(capability, what) === true;
}

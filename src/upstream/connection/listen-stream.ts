/**
 * What a stateless server says outside of calls: one open request of ours on which it tells of changed lists, and of the resources that the client
 * side wants to hear about.
 * Promises: asks only for what the server declares; with another wish a new request is open before the old one is ended, so that nothing is missed
 * between them; one that ends is made again after a rest with chance in it, and then the lists are read again, for something may have been missed; a
 * server that does not know the method is left alone; ends with its connection.
 * Does not: carry what comes on it (`correlator.ts`).
 * Source: specification 2026-07-28, subscriptions; protocol.md §1.4.
 */

import { isRefusal, type Outcome } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import type { ClientContext } from '../client-context.ts';
import type { Correlator } from './correlator.ts';

/** One request is open for so long at most; servers and proxies end it sooner. */
const OPEN_MS = 12 * 60 * 60 * 1000;
/** Wishes within this time are one. */
const TOGETHER_MS = 50;
/** A server that never acknowledges has two requests open for so long at most. */
const BOTH_MS = 10_000;
const REST = { baseMs: 1000, capMs: 30_000 } as const;
/** One that was open for so long was a good one: the rests begin anew. */
const STEADY_MS = 60_000;
const NOTHING = '{}';

export interface ListenStreamParts {
  readonly runtime: Runtime;
  readonly server: string;
  readonly correlator: () => Correlator;
  readonly clientContext: Pick<ClientContext, 'lists' | 'subscriptions'>;
  /** Something may have been missed. */
  readonly listChanged: () => void;
}

interface Stream {
  readonly deadline: Deadline;
  readonly bornMs: number;
}

export class ListenStream implements Disposable {
  readonly #parts: ListenStreamParts;
  readonly #capabilities: InitializeResult['capabilities'];
  #current: Stream | undefined;
  /** Ended when the current one is acknowledged. */
  #former: Stream | undefined;
  /** What the current one asks for, JSON text. */
  #wanted = NOTHING;
  #failures = 0;
  /** There was a time without a request. */
  #isGap = false;
  #timer: Disposable | undefined;
  #over = false;

  constructor(parts: ListenStreamParts, capabilities: InitializeResult['capabilities']) {
    this.#parts = parts;
    this.#capabilities = capabilities;
    this.#open();
  }

  /** What the client side wants to hear may be another thing now. */
  wishesChanged(): void {
    if (!this.#isResting) this.#later(TOGETHER_MS);
  }

  /** The server has begun to tell. */
  acknowledged(): void {
    this.#endFormer();
    if (this.#isGap) this.#parts.listChanged();
    this.#isGap = false;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
    this.#endFormer();
    this.#current?.deadline.end('stopped');
  }

  /** The rest ends with the newest wishes anyway. */
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
    const asked = correlator().ask(
      {
        ...{ method: 'subscriptions/listen', label: 'upstream-listen', owner: server, setting: 'listMs' },
        ...{ deadline: stream.deadline, back: SILENT_BACK_CHANNEL, silence: undefined },
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

  /** Lists are read for everybody on the shared link only. */
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

/**
 * Sends events to control in batches. While control is unavailable or reads too slowly, they wait in a queue.
 * Guarantees: above `factsQueue` the oldest events are dropped, and their number is published; a batch takes about 2 ms
 * to encode.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import { CappedQueue } from '../runtime/capped-queue.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { encodeFact } from './relay-messages.ts';

const BATCH_EVENTS = 2000;
const BATCH_CHARS = 512 * 1024;

export class EventSender {
  readonly #runtime: Runtime;
  readonly #queue: CappedQueue<HubEvent>;
  #dropped = 0;

  constructor({ runtime, limits }: { readonly runtime: Runtime; readonly limits: Limits }) {
    this.#runtime = runtime;
    this.#queue = new CappedQueue('relay.facts', () => limits.factsQueue, 'drop-oldest', runtime.ceilings);
  }

  /** Adds an event to the next batches. A report of dropped events displaces no other event. */
  put(event: HubEvent): void {
    if (event.type === 'facts-dropped' && this.#queue.size >= this.#queue.max) return;
    if (!this.#queue.push(event)) this.#dropped += 1;
  }

  /** Sends one batch. `ready` returns the connection; undefined = control cannot receive now. */
  flush(ready: () => Socket | undefined): void {
    this.#reportDropped();
    const to = this.#queue.size > 0 ? ready() : undefined;
    if (!to) return;
    const texts = this.#takeBatch();
    if (texts.length > 0) to.write(`{"t":"facts","facts":[${texts.join(',')}]}\n`);
  }

  #reportDropped(): void {
    const count = this.#dropped;
    if (count === 0) return;
    this.#dropped = 0;
    this.#runtime.bus.publish({ type: 'facts-dropped', count });
  }

  #takeBatch(): string[] {
    const texts: string[] = []; // bounded by: BATCH_EVENTS and BATCH_CHARS
    for (let length = 0; texts.length < BATCH_EVENTS && length < BATCH_CHARS; ) {
      const event = this.#queue.shift();
      if (!event) break;
      const text = encodeFact(event);
      if (text === undefined) this.#dropped += 1;
      else texts.push(text);
      length += text?.length ?? 0;
    }
    return texts;
  }
}

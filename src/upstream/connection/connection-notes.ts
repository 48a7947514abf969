/** What the operator should know about the protocol of a server: short sentences, kept until the connection ends. */
import type { Runtime } from '../../runtime/runtime.ts';

const MAX_NOTES = 8;

export class ConnectionNotes {
  readonly #bus: Runtime['bus'];
  readonly #server: string;
  readonly #all: string[] = []; // bounded by: MAX_NOTES

  constructor({ bus }: Pick<Runtime, 'bus'>, server: string) {
    this.#bus = bus;
    this.#server = server;
  }

  get all(): readonly string[] {
    return this.#all;
  }

  /** Adds a note and publishes it; does nothing when it is known, or there are `MAX_NOTES` already. */
  add(note: string): void {
    if (this.#all.includes(note) || this.#all.length >= MAX_NOTES) return;
    this.#all.push(note);
    this.#bus.publish({ type: 'server-habit-learned', server: this.#server, note });
  }
}

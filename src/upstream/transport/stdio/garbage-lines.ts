/**
 * Counts lines of a child's stdout that are no messages, and reports them once a second.
 * Guarantees: more than 32 MiB or 250,000 of them in a second are too much; only the beginning of a line is kept.
 */
import type { Runtime } from '../../../runtime/runtime.ts';
import { plainLine } from '../../../subprocess/io/plain-text.ts';

const SECOND_MS = 1000;
const MAX_BYTES = 32 * 1024 * 1024;
/** Cost of a line beside its bytes: a million lines of two bytes are work as well. */
const LINE_BYTES = 128;
/** Bytes that are kept of a line. */
export const SHOWN_BYTES = 512;
const SHOWN_CHARS = 200;

export class GarbageLines implements Disposable {
  readonly #runtime: Runtime;
  readonly #said: (line: string) => void;
  #secondMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #bytes = 0;
  #seen = Buffer.alloc(0);
  #reporting: Disposable | undefined;

  /** `said` is called at most once a second. */
  constructor(runtime: Runtime, said: (line: string) => void) {
    this.#runtime = runtime;
    this.#said = said;
  }

  /** The beginning of the last line, masked and without control characters; undefined when there was none. */
  get last(): string | undefined {
    const { secrets } = this.#runtime;
    const text = secrets.mask(plainLine(secrets.mask(this.#seen.toString('utf8'))));
    return text.trim().slice(0, SHOWN_CHARS) || undefined;
  }

  /** True when no more should be read in this second. */
  get isTooMuch(): boolean {
    return this.#bytes > MAX_BYTES;
  }

  /** Returns the remaining time of this second in ms, and starts a new count then. */
  restMs(): number {
    this.#bytes = 0;
    return Math.max(0, this.#secondMs + SECOND_MS - this.#runtime.clock.nowMs());
  }

  add(line: Buffer): void {
    if (isBlank(line)) return; // common between messages
    const nowMs = this.#runtime.clock.nowMs();
    if (nowMs - this.#secondMs >= SECOND_MS) {
      this.#secondMs = nowMs;
      this.#bytes = 0;
    }
    this.#bytes += line.length + LINE_BYTES;
    this.#lines += 1;
    // It is made readable only when it is shown, once a second: there may be 20,000 of them.
    this.#seen = Buffer.from(line.subarray(0, SHOWN_BYTES));
    if (this.#reporting) return;
    this.#report();
    this.#reporting = this.#runtime.timers.after(SECOND_MS, () => {
      this.#reporting = undefined;
      if (this.#lines > 0) this.#report();
    });
  }

  [Symbol.dispose](): void {
    this.#reporting?.[Symbol.dispose]();
  }

  #report(): void {
    const more = this.#lines > 1 ? ` (and ${this.#lines - 1} more lines that are not messages)` : '';
    this.#lines = 0;
    const text = plainLine(this.#seen.toString('utf8')).trim().slice(0, SHOWN_CHARS);
    if (text !== '' || more !== '') this.#said(`stdout: ${text}${more}`);
  }
}

/** Tells whether the line has only spaces and line ends, in the part that would be shown. */
export function isBlank(line: Buffer): boolean {
  const end = Math.min(line.length, SHOWN_BYTES);
  for (let at = 0; at < end; at += 1) if ((line[at] as number) > 0x20) return false;
  return true;
}

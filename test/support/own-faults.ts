/**
 * Faults of the hub's own code in its log: an uncaught exception, an unhandled rejection, a callback that failed. A
 * test that starts a hub fails for each of them when the hub is stopped, unless it provokes them.
 */

/** Tasks whose fault is a defect of the hub, whatever its clients, servers and machine do. */
const OWN_TASKS: ReadonlySet<unknown> = new Set([
  'uncaught',
  'unhandled',
  'request',
  'private request',
  'admin request',
  'timer',
]);

export class OwnFaults {
  readonly #isExpected: boolean;
  /** The last line, while it is not whole. */
  #rest = '';
  #found: string[] = [];

  constructor(isExpected: boolean) {
    this.#isExpected = isExpected;
  }

  /** Reads more of the log. */
  read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    this.#found.push(...lines.filter(isOwnFault));
  }

  /** Throws when there were faults since the last look. */
  assertNone(): void {
    const found = this.#found;
    this.#found = [];
    if (found.length > 0 && !this.#isExpected)
      throw new Error(`the hub logged ${found.length} faults of its own:\n${found.slice(0, 5).join('\n')}`);
  }
}

function isOwnFault(line: string): boolean {
  if (!line.includes('"event":"task-faulted"')) return false;
  try {
    return OWN_TASKS.has((JSON.parse(line) as { task: unknown }).task);
  } catch {
    return false;
  }
}

/**
 * What the guard prints: its log on stdout, what a person must read on stderr. Through sinks: a terminal that nobody reads must not stop it.
 * Promises: never waits but in `flush`, which is bounded.
 */
import { printableJson, visible } from '../telemetry/mask.ts';
import { openSink, type Sink } from '../telemetry/sink.ts';

const FLUSH_MS = 300;

export class Voice {
  readonly #terminal: boolean;
  readonly #version: string;
  /** Read when a sink is opened: the configuration may come later. */
  readonly #limits: { readonly logBytes: number };
  /** By descriptor. */
  readonly #sinks: { 1?: Sink; 2?: Sink } = {};

  constructor(options: { terminal: boolean; version: string; limits: { readonly logBytes: number } }) {
    this.#terminal = options.terminal;
    this.#version = options.version;
    this.#limits = options.limits;
  }

  print(fd: 1 | 2, lines: readonly string[]): void {
    this.#sinks[fd] ??= openSink({ fd, maxBytes: this.#limits.logBytes });
    for (const line of lines) this.#sinks[fd]?.write(`${line}\n`);
  }

  /** For a person at a terminal, else as the other processes write their lines. */
  log(level: string, event: string, msg: string, more: object = {}): void {
    const time = new Date().toISOString();
    const facts = { time, level, msg, service: 'mcphub', version: this.#version, role: 'guard', event, ...more };
    this.print(1, [
      this.#terminal
        ? `${time.slice(11, 19)} ${level.padEnd(5)} guard ${visible(msg)}`
        : printableJson(JSON.stringify(facts)),
    ]);
  }

  async flush(): Promise<void> {
    await Promise.all(Object.values(this.#sinks).map((sink) => sink.flush(FLUSH_MS)));
  }
}

/**
 * A log reader that is gone, or a hub that died while a connection was on its way to it, is told as SIGPIPE too. Commands that print end then;
 * the guard must not, so it listens itself and to nobody else. (With no listener at all the system's own answer is death.)
 */
export function surviveBrokenPipes(): void {
  const others = process.listeners('SIGPIPE');
  process.on('SIGPIPE', () => {});
  for (const other of others) process.off('SIGPIPE', other);
}

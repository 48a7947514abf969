/**
 * What the supervisor prints: its log on stdout, and messages for the operator on stderr. Both go through sinks,
 * because a terminal that nobody reads must not block it. Only `flush` waits, for a bounded time.
 */
import { printableJson, visible } from '../telemetry/mask.ts';
import { openSink, type Sink } from '../telemetry/sink.ts';

const FLUSH_MS = 300;

export class SupervisorLog {
  readonly #terminal: boolean;
  readonly #version: string;
  /** Read when a sink is opened, because the configuration may arrive later. */
  readonly #limits: { readonly logBytes: number };
  /** By descriptor. */
  readonly #sinks: { 1?: Sink; 2?: Sink } = {};

  constructor(options: { terminal: boolean; version: string; limits: { readonly logBytes: number } }) {
    this.#terminal = options.terminal;
    this.#version = options.version;
    this.#limits = options.limits;
  }

  print(fd: 1 | 2, lines: readonly string[]): void {
    this.#sinks[fd] ??= openSink({ fd, maxBytes: () => this.#limits.logBytes });
    for (const line of lines) this.#sinks[fd]?.write(`${line}\n`);
  }

  /** Writes one event: readable text on a terminal, else the same JSON lines as the other processes. */
  write(level: string, event: string, msg: string, more: object = {}): void {
    const time = new Date().toISOString();
    const line = { time, level, msg, service: 'mcphub', version: this.#version, role: 'guard', event, ...more };
    this.print(1, [
      this.#terminal
        ? `${time.slice(11, 19)} ${level.padEnd(5)} supervisor ${visible(msg)}`
        : printableJson(JSON.stringify(line)),
    ]);
  }

  async flush(): Promise<void> {
    await Promise.all(Object.values(this.#sinks).map((sink) => sink.flush(FLUSH_MS)));
  }
}

/**
 * Ignores SIGPIPE, which the system sends when a log reader, or a worker that was being handed a connection, has
 * exited. Commands that print exit then; the supervisor must not, so other listeners are removed. (Without any listener
 * the signal ends the process.)
 */
export function ignoreBrokenPipes(): void {
  const others = process.listeners('SIGPIPE');
  process.on('SIGPIPE', () => {});
  for (const other of others) process.off('SIGPIPE', other);
}

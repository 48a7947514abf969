/**
 * Five seconds of silence: whether a server that does not answer is at work or gone.
 * Promises: at `questionMs` of silence one shared question goes out; bytes, progress, its answer, stderr or CPU time of a child are signs of
 * life and re-arm the watch; at `silenceMs` without any the call ends, its request is closed and cancelled upstream; an answer that comes
 * after such a cut raises this server's limit once, visibly, so that a busy single-threaded server is wronged once at most.
 * Source: architecture.md §3.
 */
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, Refusal } from '../kernel/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import type { Correlator } from './correlate.ts';
import type { Flight } from './flight.ts';
import type { Transport } from './transport.ts';

/** CPU time that counts as being at work, ms. */
const CPU_SIGN_MS = 50;
const EMPTY = Buffer.from('{}');

export interface LivenessParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
  readonly transport: Transport;
  /** The server's limit was too short for it. */
  readonly raise: (silenceMs: number) => void;
}

export class Liveness {
  readonly #parts: LivenessParts;
  /** The question that is out; there is never a second. */
  #question: Promise<boolean> | undefined;
  /** A call was cut while a question was out. */
  #cut = false;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
  }

  silent(flight: Flight): void {
    flight.cpuMs = this.#parts.transport.cpuMs();
    void this.#ask();
  }

  tooSilent(flight: Flight, silentMs: number): void {
    const { correlator, server } = this.#parts;
    if (this.#works(flight)) {
      flight.touch();
      return;
    }
    this.#cut = true;
    correlator.cancel(flight, 'no sign of life');
    const waitedMs = Math.round(silentMs);
    flight.settle(
      new Refusal(
        'upstream-silent',
        `${server} gave no sign of life for ${waitedMs} ms in ${flight.plan.method}; the setting silenceMs of the server or tool allows more.`,
        {
          server,
          phase: 'call',
          waitedMs,
          setting: 'silenceMs',
          outcome: 'unknown',
        },
      ),
    );
  }

  /** Asks once and says within `pingMs` whether an answer came. */
  async isAlive(): Promise<boolean> {
    const { kernel, limits } = this.#parts;
    using deadline = kernel.deadline(limits.pingMs);
    const late = new Promise<boolean>((resolve) => {
      deadline.onEnd(() => resolve(false));
    });
    return Promise.race([this.#ask(), late]);
  }

  /** The child has used CPU since it was last looked at. */
  #works(flight: Flight): boolean {
    const nowMs = this.#parts.transport.cpuMs();
    const beforeMs = flight.cpuMs;
    flight.cpuMs = nowMs;
    return nowMs !== undefined && beforeMs !== undefined && nowMs - beforeMs >= CPU_SIGN_MS;
  }

  #ask(): Promise<boolean> {
    this.#question ??= this.#askOnce().finally(() => {
      this.#question = undefined;
      this.#cut = false;
    });
    return this.#question;
  }

  async #askOnce(): Promise<boolean> {
    const { kernel, limits, server, correlator } = this.#parts;
    // It may be answered late, when a busy server gets round to it; that too is news.
    using deadline = kernel.deadline(limits.silenceRaisedMs);
    const patience = { questionMs: limits.silenceRaisedMs, silenceMs: limits.silenceRaisedMs };
    const answer = await correlator.ask(
      { method: 'ping', label: 'upstream-ping', owner: server, deadline, back: SILENT_BACK_CHANNEL, ...patience },
      () => EMPTY,
    );
    if (isRefusal(answer)) return false;
    if (this.#cut) this.#parts.raise(limits.silenceRaisedMs);
    correlator.alive(undefined);
    return true;
  }
}

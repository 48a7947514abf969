/**
 * Five seconds of silence: whether a server that does not answer is at work or gone.
 * Promises: half-way to the cut (at most `questionMs`) one question goes out, shared by all calls; bytes, progress, its answer, stderr or CPU
 * time of a child are signs of life and re-arm the watch; a call without any ends at `silenceMs`, its request is closed and cancelled upstream;
 * an answer to a question from before such a cut raises this server's limit, visibly, so that a busy server is wronged once at most.
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
/** By then a reading that was asked for is there, ms. */
const CPU_FRESH_MS = 500;
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
  /** The question that is out. An answer may come late, so that a few old ones can be out beside it. */
  #question: { readonly answer: Promise<boolean>; readonly askedMs: number } | undefined;
  /** When a call was last cut for silence. */
  #cutMs = -1;
  /** When anything last came from the server. */
  #seenMs: number;
  #cpuMs: number | undefined;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#seenMs = parts.kernel.clock.nowMs();
  }

  /** Something came: a message, bytes, a line of stderr. Returns the time, for others that want it. */
  seen(): number {
    this.#seenMs = this.#parts.kernel.clock.nowMs();
    return this.#seenMs;
  }

  silent(flight: Flight): void {
    const { kernel, transport } = this.#parts;
    const { silence } = flight.plan;
    // The figure at hand may be as old as the child, and its start would count as work on this call (10 s of silence and not 5, measured). A
    // fresh one is on its way.
    flight.cpuMs = undefined;
    transport.cpuMs();
    const freshMs = Math.min(CPU_FRESH_MS, (silence?.silenceMs ?? CPU_FRESH_MS) / 4);
    kernel.timers.after(freshMs, () => {
      if (!flight.over) flight.cpuMs = transport.cpuMs();
    });
    void this.#ask();
  }

  tooSilent(flight: Flight, silentMs: number): void {
    const { correlator, server, kernel } = this.#parts;
    if (this.#hasWorked(flight)) {
      flight.touch();
      return;
    }
    const nowMs = kernel.clock.nowMs();
    this.#cutMs = nowMs;
    correlator.cancel(flight, 'no sign of life');
    const waitedMs = Math.round(nowMs - flight.sentMs);
    const silence = Math.round(silentMs);
    flight.settle(
      new Refusal(
        'upstream-silent',
        `${server} gave no sign of life for ${silence} ms in phase call (${flight.plan.method}, ${waitedMs} ms after it was sent); the setting silenceMs of the server or tool allows more.`,
        { server, phase: 'call', waitedMs, silentMs: silence, setting: 'silenceMs', outcome: 'unknown' },
      ),
    );
  }

  /** Asks and says within `pingMs` whether an answer came. Never rejects. */
  async isAlive(): Promise<boolean> {
    const { kernel, limits, server } = this.#parts;
    using deadline = kernel.deadline(limits.pingMs);
    try {
      return await kernel.waits.for(this.#ask(), { label: 'upstream-ping', owner: server, deadline });
    } catch {
      return false;
    }
  }

  /** Whether it did anything within the last `withinMs`, or used CPU since this was last asked. */
  showsLife(withinMs: number): boolean {
    const cpuMs = this.#parts.transport.cpuMs();
    const grown = cpuMs !== undefined && this.#cpuMs !== undefined && cpuMs - this.#cpuMs >= CPU_SIGN_MS;
    this.#cpuMs = cpuMs;
    return grown || this.#parts.kernel.clock.nowMs() - this.#seenMs < withinMs;
  }

  /** The child has used CPU since it was last looked at for this call. */
  #hasWorked(flight: Flight): boolean {
    const nowMs = this.#parts.transport.cpuMs();
    const beforeMs = flight.cpuMs;
    flight.cpuMs = nowMs;
    return nowMs !== undefined && beforeMs !== undefined && nowMs - beforeMs >= CPU_SIGN_MS;
  }

  /** One question for everybody. One that is older than `pingMs` may be lost (a dead socket): another goes out beside it. */
  #ask(): Promise<boolean> {
    const { kernel, limits } = this.#parts;
    const nowMs = kernel.clock.nowMs();
    if (this.#question && nowMs - this.#question.askedMs < limits.pingMs) return this.#question.answer;
    const question = { answer: this.#askOnce(nowMs), askedMs: nowMs };
    this.#question = question;
    void question.answer.then(() => {
      if (this.#question === question) this.#question = undefined;
    });
    return question.answer;
  }

  /** Never rejects. */
  async #askOnce(askedMs: number): Promise<boolean> {
    const { kernel, limits, server, correlator } = this.#parts;
    // It may be answered late, when a busy server gets round to it; that too is news.
    using deadline = kernel.deadline(limits.silenceRaisedMs);
    const answer = await correlator.ask(
      {
        method: 'ping',
        label: 'upstream-ping',
        owner: server,
        deadline,
        setting: 'pingMs',
        back: SILENT_BACK_CHANNEL,
        silence: undefined,
      },
      () => EMPTY,
    );
    if (isRefusal(answer)) return false;
    if (this.#cutMs >= askedMs) this.#parts.raise(limits.silenceRaisedMs);
    correlator.alive(undefined);
    return true;
  }
}

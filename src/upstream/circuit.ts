/**
 * The circuit breaker of one server, and the probes that open and close it.
 * Guarantees: an open circuit refuses at once and is closed by a probe, never by a user's call; failures that a single
 * call can cause (resets, gateway errors, slowness, a requested pause) open it only if a ping fails too; after three
 * such failures in a row the server is shown as `waiting` until it answers a probe or a call.
 */
import type { Limits } from '../config/limits.ts';
import type { ErrorCode } from '../model/errors.ts';
import { Refusal } from '../model/outcome.ts';
import { withoutStop } from '../model/sentence.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import { Breaker, type BreakerOptions } from '../resilience/breaker.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { UpstreamCall } from './call.ts';
import { failureSign, pauseAsked } from './failure-signs.ts';
import type { Link } from './link/link.ts';

export interface CircuitParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly link: Pick<Link, 'isAlive' | 'view'>;
}

/** An open circuit, or a server whose recent failures suggest that it is unreachable. */
export interface CircuitView {
  readonly code: ErrorCode;
  /** For the operator; contains the last failure. */
  readonly message: string;
  /** Time in this state, ms. */
  readonly sinceMs: number;
  /** Time until the next probe, ms; undefined while one is pending. */
  readonly retryMs: number | undefined;
}

/** Time for which an answered probe is taken as proof that the server is reachable, ms. */
const ALIVE_MS = 2000;
/** Failures in a row after which the server is not shown as ready. */
const DOUBTFUL = 3;

/** The limits in force at the time of use. */
class BreakerLimits implements BreakerOptions {
  readonly #limits: Limits;
  readonly random: () => number;

  constructor(limits: Limits, random: () => number) {
    this.#limits = limits;
    this.random = random;
  }

  get failures(): number {
    return this.#limits.breakerFailures;
  }

  get openMs(): number {
    return this.#limits.breakerOpenMs;
  }

  get capMs(): number {
    return this.#limits.breakerCapMs;
  }

  get leaseMs(): number {
    return this.#limits.pingMs;
  }
}

export class Circuit {
  readonly #parts: CircuitParts;
  readonly #breaker: Breaker;
  #cause = '';
  #code: ErrorCode = 'server-down';
  /** Failures in a row that suggest that the server is unreachable. */
  #inRow = 0;
  /** Since when it is open, or the server is doubtful. */
  #sinceMs = 0;
  #askingAgain: Disposable | undefined;
  #probing: Disposable | undefined;
  #isAsking = false;
  #aliveMs = Number.NEGATIVE_INFINITY;
  #pauseMs: number | undefined;
  #closed = false;

  constructor(parts: CircuitParts) {
    this.#parts = parts;
    this.#breaker = new Breaker(new BreakerLimits(parts.limits, parts.runtime.random));
  }

  get view(): CircuitView | undefined {
    const isOpen = this.#breaker.state !== 'closed';
    if (!isOpen && this.#inRow < DOUBTFUL) return undefined;
    const nowMs = this.#parts.runtime.clock.nowMs();
    const sinceMs = nowMs - this.#sinceMs;
    if (isOpen) {
      const message = `circuit breaker open after ${this.#cause}`;
      return { code: 'breaker-open', message, sinceMs, retryMs: this.#breaker.restMs(nowMs) };
    }
    const message = `the last ${this.#inRow} calls failed: ${this.#cause}`;
    return { code: this.#code, message, sinceMs, retryMs: undefined };
  }

  allows(): boolean {
    return this.#breaker.allows();
  }

  succeeded(nowMs: number, tookMs: number | undefined, key: string): void {
    this.#inRow = 0;
    this.#breaker.succeeded(nowMs, tookMs, key, false);
    if (this.#breaker.isDoubted) this.#doubt('nearly all calls take far longer than they did');
  }

  /** Records a failed call. Returns true when the server may be unreachable. */
  failed(refusal: Refusal, { budget, fairKey }: Pick<UpstreamCall, 'budget' | 'fairKey'>, nowMs: number): boolean {
    const { spec, limits } = this.#parts;
    const serverSilenceMs = spec.times.silenceMs ?? limits.silenceMs;
    const sign = failureSign(refusal, budget.configuredSilenceMs ?? serverSilenceMs, serverSilenceMs);
    if (sign === undefined) return false;
    const cause = `${refusal.code}: ${withoutStop(refusal.message)}`;
    this.#count(refusal, cause, nowMs);
    if (this.#breaker.failed(nowMs, fairKey, sign === 'gone')) this.#opened(cause);
    const pauseMs = pauseAsked(refusal);
    if (pauseMs !== undefined) this.#pauseMs = Math.max(this.#pauseMs ?? 0, pauseMs);
    if (this.#breaker.isDoubted || pauseMs !== undefined || this.#inRow >= DOUBTFUL) this.#doubt(cause);
    return true;
  }

  #count({ code }: Refusal, cause: string, nowMs: number): void {
    this.#inRow += 1;
    if (this.#breaker.state !== 'closed') return;
    if (this.#inRow === DOUBTFUL) this.#sinceMs = nowMs;
    this.#code = code;
    this.#cause = cause;
  }

  /** Returns the refusal of an open circuit. */
  refuse(): Refusal {
    const { spec, runtime } = this.#parts;
    const retryMs = Math.round(this.#breaker.restMs(runtime.clock.nowMs()));
    return new Refusal(
      'breaker-open',
      `${spec.slug}: circuit breaker open (${this.#cause}); next probe in ${Math.ceil(retryMs / 1000)} s.`,
      {
        server: spec.slug,
        phase: 'breaker',
        outcome: 'not-executed',
        retryAfterMs: Math.max(retryMs, 500),
        setting: 'breakerFailures',
      },
    );
  }

  /** Resets the circuit: a new connection is ready. */
  becameReady(): void {
    this.#stopProbing();
    this.#inRow = 0;
    if (this.#breaker.state === 'closed') return this.#breaker.excuse();
    this.#breaker.reset();
    this.#parts.runtime.bus.publish({ type: 'breaker-closed', server: this.#parts.spec.slug });
  }

  close(): void {
    this.#closed = true;
    this.#stopProbing();
    this.#askingAgain?.[Symbol.dispose]();
  }

  /** Probes the server before its circuit opens. One probe at a time. */
  #doubt(cause: string): void {
    const { runtime, link, spec } = this.#parts;
    if (this.#isAsking || this.#closed) return;
    if (runtime.clock.nowMs() - this.#aliveMs < ALIVE_MS) return this.#excuse();
    this.#isAsking = true;
    runtime.scope.run(`circuit of ${spec.slug}`, async () => {
      const isAlive = await link.isAlive();
      this.#isAsking = false;
      const nowMs = runtime.clock.nowMs();
      if (isAlive) this.#aliveMs = nowMs;
      // A link that is not ready refuses calls itself.
      if (this.#closed || isAlive || link.view.state !== 'ready') this.#excuse();
      else if (this.#pauseMs !== undefined ? this.#breaker.pause(nowMs, this.#pauseMs) : this.#breaker.trip(nowMs))
        this.#opened(cause);
      else if (this.#inRow >= DOUBTFUL) this.#askAgain(cause);
      this.#pauseMs = undefined;
    });
  }

  /**
   * The server did not answer, which is not enough to open the circuit: probes it until it answers, or its link ends.
   */
  #askAgain(cause: string): void {
    const { runtime } = this.#parts;
    this.#askingAgain?.[Symbol.dispose]();
    this.#askingAgain = runtime.timers.after(ALIVE_MS, () => {
      if (this.#inRow >= DOUBTFUL && this.#breaker.state === 'closed') this.#doubt(cause);
    });
  }

  #excuse(): void {
    this.#pauseMs = undefined;
    this.#inRow = 0;
    this.#breaker.excuse();
  }

  #opened(cause: string): void {
    const { runtime, spec } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    this.#cause = cause;
    this.#sinceMs = nowMs;
    const ms = Math.round(this.#breaker.restMs(nowMs));
    runtime.bus.publish({ type: 'breaker-opened', server: spec.slug, ms, cause });
    this.#probeLater();
  }

  #probeLater(): void {
    const { runtime, spec } = this.#parts;
    this.#stopProbing();
    if (this.#closed) return;
    this.#probing = runtime.timers.after(Math.max(50, this.#breaker.restMs(runtime.clock.nowMs())), () => {
      runtime.scope.run(`breaker ${spec.slug}`, () => this.#probe());
    });
  }

  async #probe(): Promise<void> {
    const { runtime, link, spec } = this.#parts;
    const lease = this.#breaker.mayProbe(runtime.clock.nowMs());
    if (lease !== undefined) {
      const ok = await link.isAlive();
      if (this.#breaker.probed(lease, ok, runtime.clock.nowMs())) {
        this.#stopProbing();
        this.#inRow = 0;
        runtime.bus.publish({ type: 'breaker-closed', server: spec.slug });
        return;
      }
    }
    if (this.#breaker.state !== 'closed') this.#probeLater();
  }

  #stopProbing(): void {
    this.#probing?.[Symbol.dispose]();
    this.#probing = undefined;
  }
}

/**
 * The whole way of a call to one server: breaker → place inside → breaker again → link. Behind it every server is alone with its troubles.
 * Promises: an open breaker refuses in no time; a full server refuses its own calls only; keys take turns in the queue; what speaks against a
 * server is what the errors table marks so, and a server's own errors never do; an open breaker is closed by a background question, never by
 * a user's call.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { type ErrorCode, errorRow, newReference } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import type { ServerSpec } from '../kernel/snapshot.ts';
import { Breaker } from '../resilience/breaker.ts';
import { Bulkhead, type Permit } from '../resilience/bulkhead.ts';
import { isLocal } from './_endings.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import type { Link } from './link.ts';

export interface StackParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly link: Link;
}

/** Failures after which the server may be gone altogether. */
const BROKEN: ReadonlySet<ErrorCode> = new Set(['upstream-connect', 'upstream-gone', 'upstream-dns', 'upstream-tls']);

export class Stack {
  readonly #parts: StackParts;
  readonly #bulkhead: Bulkhead;
  readonly #breaker: Breaker;
  calls = 0;
  failures = 0;
  #probing: Disposable | undefined;
  #idle: (() => void) | undefined;
  #closed = false;

  constructor(parts: StackParts) {
    this.#parts = parts;
    const { limits, spec, kernel } = parts;
    const inside =
      spec.inFlight ??
      (isLocal(spec) && spec.transport.kind === 'stdio' ? limits.stdioInFlight : limits.serverInFlight);
    this.#bulkhead = new Bulkhead({
      inside,
      waiting: limits.serverQueue,
      refusal: (why, busy, queued) =>
        new Refusal(
          'server-busy',
          `${spec.slug} has ${busy} calls inside and ${queued} waiting${why === 'waited' ? '; no place came free in time' : ''}.`,
          {
            server: spec.slug,
            phase: 'queue',
            setting: why === 'waited' ? 'serverQueueMs' : 'inFlight',
            outcome: 'not-executed',
            retryAfterMs: 1000,
          },
        ),
    });
    this.#breaker = new Breaker({
      failures: limits.breakerFailures,
      openMs: limits.breakerOpenMs,
      capMs: limits.breakerCapMs,
      leaseMs: limits.pingMs,
      random: kernel.random,
    });
  }

  get queued(): number {
    return this.#bulkhead.waiting;
  }

  get inFlight(): number {
    return this.#bulkhead.inside;
  }

  call(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    this.calls += 1;
    if (!this.#breaker.allows()) return this.#open();
    const ready = this.#parts.link.whenReady(call.deadline, call.owner);
    return ready instanceof Promise ? ready.then((late) => this.#enter(late, call)) : this.#enter(ready, call);
  }

  /** A connection is up again: its troubles are over. */
  becameReady(): void {
    this.#stopProbing();
    if (this.#breaker.state === 'closed') return;
    this.#breaker.reset();
    this.#parts.kernel.bus.publish({ type: 'breaker-closed', server: this.#parts.spec.slug });
  }

  /** Waits until nothing is inside or queued, or the deadline ends. Never rejects. */
  async drain(deadline: Deadline): Promise<void> {
    const { kernel, spec } = this.#parts;
    if (this.#bulkhead.inside === 0 && this.#bulkhead.waiting === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    try {
      await kernel.waits.for(idle, { label: 'upstream-stop', owner: spec.slug, deadline });
    } catch {
      // What is still in flight ends with the link.
    }
  }

  close(): void {
    this.#closed = true;
    this.#stopProbing();
  }

  #enter(ready: Outcome<undefined>, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (isRefusal(ready)) return ready;
    const permit = this.#bulkhead.tryEnter(call.fairKey);
    if (permit) return this.#inside(permit, call);
    return this.#bulkhead.hasPlace(call.fairKey) ? this.#queue(call) : this.#bulkhead.refuse();
  }

  #queue(call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    const { kernel, limits } = this.#parts;
    const deadline = call.deadline.sooner(limits.serverQueueMs);
    try {
      const wait = kernel.waits.open('upstream-queue', call.owner, deadline);
      const goOn = (permit: Outcome<Permit>): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> => {
        wait.leave();
        deadline[Symbol.dispose]();
        return this.#inside(permit, call);
      };
      const permit = this.#bulkhead.enter(deadline, call.fairKey);
      return permit instanceof Promise ? permit.then(goOn) : goOn(permit);
    } catch (fault) {
      deadline[Symbol.dispose]();
      throw fault;
    }
  }

  #inside(permit: Outcome<Permit>, call: UpstreamCall): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
    if (isRefusal(permit)) return permit;
    if (!this.#breaker.allows()) {
      this.#leave(permit);
      return this.#open();
    }
    const { callTimeoutMs } = call.times;
    // Strict mode: a shorter deadline of the call's own.
    const cut =
      callTimeoutMs === undefined
        ? undefined
        : { deadline: call.deadline.sooner(callTimeoutMs), setting: 'callTimeoutMs' };
    const finish = (answer: Outcome<UpstreamReply>): Outcome<UpstreamReply> => {
      cut?.deadline[Symbol.dispose]();
      this.#leave(permit);
      return this.#judged(answer, sentMs, call.fairKey);
    };
    const sentMs = this.#parts.kernel.clock.nowMs();
    const answer = this.#parts.link.send(call, cut);
    return answer instanceof Promise ? answer.then(finish) : finish(answer);
  }

  #leave(permit: Permit): void {
    permit[Symbol.dispose]();
    if (this.#bulkhead.inside === 0 && this.#bulkhead.waiting === 0) this.#idle?.();
  }

  #judged(answer: Outcome<UpstreamReply>, sentMs: number, key: string): Outcome<UpstreamReply> {
    const { kernel, spec } = this.#parts;
    const nowMs = kernel.clock.nowMs();
    // A server that asks people takes as long as they do.
    const tookMs = spec.interactive ? undefined : nowMs - sentMs;
    if (!isRefusal(answer)) {
      if (this.#breaker.succeeded(nowMs, tookMs, key)) this.#opened();
    } else if (errorRow(answer.code).breaker) {
      this.failures += 1;
      if (BROKEN.has(answer.code)) this.#parts.link.suspect();
      if (this.#breaker.failed(nowMs, key)) this.#opened();
      return this.#reported(answer);
    }
    return answer;
  }

  /** Publishes for the operator what clients get as a reference only. */
  #reported({ code, message, detail }: Refusal): Refusal {
    const { kernel, spec } = this.#parts;
    const { reference = newReference(), operator } = detail;
    const page = String(operator?.body ?? '');
    kernel.bus.publish({ type: 'server-call-failed', server: spec.slug, code, message, reference, page });
    return new Refusal(code, message, { ...detail, server: spec.slug, reference });
  }

  #open(): Refusal {
    const { spec, kernel } = this.#parts;
    const restMs = Math.round(this.#breaker.restMs(kernel.clock.nowMs()));
    return new Refusal(
      'breaker-open',
      `${spec.slug} failed too often; it is asked again in ${Math.ceil(restMs / 1000)} s and comes back by itself.`,
      {
        server: spec.slug,
        phase: 'breaker',
        outcome: 'not-executed',
        retryAfterMs: Math.max(restMs, 500),
        setting: 'breakerFailures',
      },
    );
  }

  #opened(): void {
    const { kernel, spec } = this.#parts;
    kernel.bus.publish({
      type: 'breaker-opened',
      server: spec.slug,
      ms: Math.round(this.#breaker.restMs(kernel.clock.nowMs())),
    });
    this.#probeLater();
  }

  #probeLater(): void {
    const { kernel } = this.#parts;
    this.#stopProbing();
    if (this.#closed) return;
    this.#probing = kernel.timers.after(Math.max(50, this.#breaker.restMs(kernel.clock.nowMs())), () => {
      kernel.scope.run(`breaker ${this.#parts.spec.slug}`, () => this.#probe());
    });
  }

  async #probe(): Promise<void> {
    const { kernel, link, spec } = this.#parts;
    const lease = this.#breaker.mayProbe(kernel.clock.nowMs());
    if (lease !== undefined) {
      const ok = await link.isAlive();
      if (this.#breaker.probed(lease, ok, kernel.clock.nowMs())) {
        this.#stopProbing();
        kernel.bus.publish({ type: 'breaker-closed', server: spec.slug });
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

/**
 * The steps of a call to one server, in their order. Servers do not affect each other.
 * Guarantees: a step that waits ends with the budget of the call, so when its client leaves or cancels; a call that a
 * step refuses was not executed; a place inside is given back by every ending.
 */
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { Permit } from '../resilience/bulkhead.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { UpstreamCall, UpstreamReply } from './call.ts';
import { CallOutcomes } from './call-outcomes.ts';
import { Circuit } from './circuit.ts';
import type { Link } from './link/link.ts';
import { ServerQueue } from './server-queue.ts';

export interface UpstreamPipelineParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly spec: ServerSpec;
  readonly link: Link;
}

type Answer = Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>>;

export class UpstreamPipeline {
  readonly #clock: Runtime['clock'];
  readonly #link: Link;
  readonly circuit: Circuit;
  readonly queue: ServerQueue;
  readonly outcomes: CallOutcomes;
  calls = 0;

  constructor(parts: UpstreamPipelineParts) {
    this.#clock = parts.runtime.clock;
    this.#link = parts.link;
    this.circuit = new Circuit(parts);
    this.queue = new ServerQueue(parts);
    this.outcomes = new CallOutcomes({ ...parts, circuit: this.circuit });
  }

  call(call: UpstreamCall): Answer {
    this.calls += 1;
    // 1. Breaker: a call to a server that does not respond is refused at once, before it waits for anything.
    if (!this.circuit.allows()) return this.circuit.refuse();
    // 2. Key: one key that keeps ending the process of the server must not take it from the others.
    const paused = this.#link.lives.limited(call.fairKey);
    if (paused) return paused;
    // 3. Ready: a server that is starting is waited for, before the queue, so that these calls take no place inside.
    const ready = this.#link.whenReady(call.budget.deadline, call.owner);
    return ready instanceof Promise ? ready.then((late) => this.#enter(late, call)) : this.#enter(ready, call);
  }

  #enter(ready: Outcome<undefined>, call: UpstreamCall): Answer {
    if (isRefusal(ready)) return ready;
    // 4. Queue: a server gets as many calls at once as it may have; keys take turns.
    const permit = this.queue.enter(call);
    return permit instanceof Promise ? permit.then((late) => this.#send(late, call)) : this.#send(permit, call);
  }

  #send(permit: Outcome<Permit>, call: UpstreamCall): Answer {
    if (isRefusal(permit)) return permit;
    // 5. Breaker again: it may have opened while the call waited.
    if (!this.circuit.allows()) {
      this.queue.leave(permit);
      return this.circuit.refuse();
    }
    // 6. Strict timeout: it begins here, because it limits the server and not the wait for it.
    call.budget.startStrictTimeout();
    // 7. Send: the connection waits for the reply, and watches for silence.
    const sentMs = this.#clock.nowMs();
    const answer = this.#link.send(call);
    // 8. Outcome: what this call says about the server decides on the next ones.
    const finish = (late: Outcome<UpstreamReply>): Outcome<UpstreamReply> => {
      this.queue.leave(permit);
      return this.outcomes.record(late, sentMs, call);
    };
    return answer instanceof Promise ? answer.then(finish) : finish(answer);
  }

  /** Resets the pipeline for a new connection. */
  becameReady(): void {
    this.circuit.becameReady();
  }

  /** Waits until no call is running or queued, or the deadline ends. Never rejects. */
  drain(deadline: Deadline): Promise<void> {
    return this.queue.drain(deadline);
  }

  close(): void {
    this.circuit.close();
    this.queue.close();
  }
}

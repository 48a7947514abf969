/**
 * Calls from their admission to their answer.
 * Guarantees: a call whose client has left does not begin; it ends once: with its answer, when its client cancels or
 * leaves, or with its key; its permit is given back by every ending; a fault becomes an error reply, here and nowhere
 * else.
 */
import { HubError } from '../model/errors.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import type { Call, Reply } from './call.ts';
import type { Cancels } from './cancel.ts';
import type { PipelineParts } from './pipeline-parts.ts';

type Answer = Outcome<Reply> | Promise<Outcome<Reply>>;

export interface RunningCalls {
  /** Runs a call. `ended` gets its one outcome. Never throws, never rejects. */
  run(call: Call, work: (call: Call) => Answer, ended: (call: Call, outcome: Outcome<Reply>) => void): Answer;
}

export function createRunningCalls(
  { runtime }: Pick<PipelineParts, 'runtime'>,
  cancels: Pick<Cancels, 'remember' | 'forget'>,
): RunningCalls {
  function attempt(call: Call, work: (call: Call) => Answer): Answer {
    try {
      return work(call);
    } catch (fault) {
      return refusalFrom(fault);
    }
  }

  /** The only place where a fault becomes an answer. Causes go to the log only. */
  function refusalFrom(fault: unknown): Refusal {
    if (fault instanceof HubError) return new Refusal(fault.code, fault.message, fault.detail);
    runtime.bus.publish({ type: 'task-faulted', task: 'call', fault });
    return new Refusal('internal');
  }

  function release({ permit, open }: Call): void {
    permit[Symbol.dispose]();
    open.close();
  }

  return {
    run(call, work, ended) {
      const outcome = hasLeft(call) ? new Refusal('client-gone') : attempt(call, work);
      if (!(outcome instanceof Promise)) {
        release(call);
        ended(call, outcome);
        return outcome;
      }
      return new Promise((resolve) => {
        let isOver = false;
        const slot = cancels.remember(call);
        const finish = (late: Outcome<Reply>): void => {
          if (isOver) return;
          isOver = true;
          cancels.forget(slot);
          release(call);
          ended(call, late);
          resolve(late);
        };
        // Wherever the call waits: its caller gets no result any more.
        call.open.onEnd(finish);
        if (endsWhenGone(call)) call.incoming.onGone(() => runtime.openWork.end(call.open, new Refusal('client-gone')));
        outcome.then(finish, (fault) => finish(refusalFrom(fault)));
      });
    },
  };
}

/** With a session the client may return for the answer: a disconnect is not a cancel (2025 era). */
function endsWhenGone({ session, incoming }: Call): boolean {
  return session === undefined || incoming.isLostWhenGone === true;
}

function hasLeft(call: Call): boolean {
  return call.envelope.kind === 'request' && endsWhenGone(call) && call.incoming.isGone?.() === true;
}

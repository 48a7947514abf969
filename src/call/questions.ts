/**
 * Server requests to the user of a client (sampling, elicitation, roots), and the client's answer, which comes in a
 * request of its own.
 * Guarantees: exactly one session may answer, and once; the id is the hub's own and names the worker that waits; a
 * request ends by its deadline, and the client gets a cancel.
 */
import { randomBytes } from 'node:crypto';
import type { Limits } from '../config/limits.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import type { Answer, Asking } from '../protocol/back-channel.ts';
import type { Envelope } from '../protocol/message.ts';
import { notificationFrame, requestFrame } from '../protocol/write.ts';
import type { EndReason } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairMap } from '../runtime/shares.ts';
import type { Session } from '../session/sessions.ts';

export interface SessionAsking extends Asking {
  readonly session: Session;
  /** Returns false when the client cannot be reached now. */
  send(frame: Buffer): boolean;
}

export interface Questions {
  /** Never rejects. */
  ask(asking: SessionAsking): Promise<Outcome<Answer>>;
  /** Handles a reply from a client of this session; drops it when it matches no request. */
  answered(session: Session, envelope: Envelope): void;
  /** Returns the id of the worker that waits for this reply; undefined when it is no reply to a worker's request. */
  ownerOf(envelope: Envelope): number | undefined;
}

interface Open {
  readonly random: string;
  readonly settle: (outcome: Outcome<Answer>) => void;
}

const QUESTION_ID = /^"mcphub-(\d{1,3})-[\w-]{4,16}-\d{1,15}"$/;
const LONGEST_ID = 64;

export interface QuestionsParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'questions' | 'questionsPerKey'>;
  /** Id of this worker. */
  readonly slot: number;
}

export function createQuestions({ runtime, limits, slot }: QuestionsParts): Questions {
  const life = randomBytes(6).toString('base64url');
  const bounds = { max: () => limits.questions, share: () => limits.questionsPerKey };
  const open = new FairMap<string, Open>('call.questions', bounds, 'refuse', runtime.ceilings);
  let asked = 0;

  return {
    ask({ session, send, method, params, deadline, owner }) {
      asked += 1;
      const id = `"mcphub-${slot}-${life}-${asked}"`;
      return new Promise((resolve) => {
        const settle = (outcome: Outcome<Answer>): void => {
          if (!open.delete(id)) return;
          wait.leave();
          forget();
          resolve(outcome);
        };
        if (!open.set(session.owner, id, { random: session.random, settle })) return resolve(tooMany());
        const wait = runtime.waits.open('client-answer', owner, deadline);
        let forget = () => {};
        forget = deadline.onEnd((reason) => {
          send(notificationFrame('notifications/cancelled', cancelParams(id, reason)));
          settle(new Refusal('client-silent', undefined, { phase: 'question' }));
        });
        if (!send(requestFrame(id, method, params))) settle(new Refusal('client-cannot-be-asked'));
      });
    },
    answered(session, { bytes, id, result, error }) {
      const question = id.end - id.at > LONGEST_ID ? undefined : open.get(bytes.toString('latin1', id.at, id.end));
      if (question?.random !== session.random) return;
      const span = result.at >= 0 ? result : error;
      const json = Buffer.from(bytes.subarray(span.at, span.end));
      question.settle({ kind: result.at >= 0 ? 'result' : 'error', json });
    },
    ownerOf({ bytes, id }) {
      if (id.at < 0 || id.end - id.at > LONGEST_ID) return undefined;
      const parts = QUESTION_ID.exec(bytes.toString('latin1', id.at, id.end));
      return parts ? Number(parts[1]) : undefined;
    },
  };
}

function tooMany(): Refusal {
  return new Refusal('overloaded', 'Too many questions to users of this key are open.', { setting: 'questionsPerKey' });
}

function cancelParams(id: string, reason: EndReason): Buffer {
  return Buffer.from(`{"requestId":${id},"reason":${JSON.stringify(reason)}}`);
}

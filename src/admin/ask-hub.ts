/**
 * Sends requests to workers over their private unix sockets.
 * Guarantees: every request ends by `askMs` or the caller's deadline, closes its socket, and reads at most 16 MiB; a
 * worker that does not respond, refuses, or sends an invalid response is returned as a `HubFailure`, never thrown.
 */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { socketName } from '../model/supervisor-messages.ts';
import {
  isAbsent,
  requestUnixSocket,
  type UnixSocketRequest,
  type UnixSocketResponse,
} from '../net/unix-socket-request.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { HubFailure } from './contract.ts';

const ANSWER_BYTES = 16 * 1024 * 1024;

export interface HubsAnswers<T> {
  readonly answers: readonly { readonly hub: number; readonly body: T }[];
  readonly failed: readonly HubFailure[];
}

export interface HubAsker {
  /** Asks all of `slots` at the same time. Never rejects. */
  ask<T>(slots: readonly number[], question: UnixSocketRequest, deadline: Deadline): Promise<HubsAnswers<T>>;
}

export function createHubAsker(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  /** Directory of the private sockets. */
  readonly runDir: string;
}): HubAsker {
  const { runtime, limits, runDir } = parts;

  async function one<T>(slot: number, question: UnixSocketRequest, deadline: Deadline): Promise<T> {
    using share = deadline.sooner(limits.askMs);
    const path = join(runDir, socketName('hub', slot));
    const answer = requestUnixSocket(path, question, { deadline: share, maxBytes: ANSWER_BYTES }).then(bodyOf);
    return (await runtime.waits.for(answer, { label: 'hub-ask', owner: `hub ${slot}`, deadline: share })) as T;
  }

  return {
    async ask<T>(slots: readonly number[], question: UnixSocketRequest, deadline: Deadline) {
      const answers: { hub: number; body: T }[] = [];
      const failed: HubFailure[] = [];
      await Promise.all(
        slots.map(async (hub) => {
          try {
            answers.push({ hub, body: await one<T>(hub, question, deadline) });
          } catch (fault) {
            failed.push({ hub, message: wordsFor(fault, limits.askMs) });
          }
        }),
      );
      const bySlot = (a: { hub: number }, b: { hub: number }) => a.hub - b.hub;
      return { answers: answers.sort(bySlot), failed: failed.sort(bySlot) };
    },
  };
}

function bodyOf({ status, text }: UnixSocketResponse): unknown {
  const body: unknown = JSON.parse(text);
  if (status < 400) return body;
  const words = (body as { error?: { message?: unknown } } | null)?.error?.message ?? `status ${status}`;
  throw new HubError('server-down', { message: String(words) });
}

function wordsFor(fault: unknown, askMs: number): string {
  if (fault instanceof HubError) {
    return fault.code === 'wait-expired' ? `did not answer within ${askMs} ms` : fault.message;
  }
  if (isAbsent(fault)) return 'is not running';
  return fault instanceof Error ? fault.message : String(fault);
}

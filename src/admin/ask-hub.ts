/**
 * Asks hubs over their private unix sockets.
 * Promises: every question ends by `askMs` or the asker's deadline, closes its socket, and reads at most 16 MiB; a hub that does not answer,
 * refuses or talks nonsense is told as a `HubFailure`, never thrown.
 */
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { socketName } from '../kernel/supervisor-messages.ts';
import { askSocket, type SocketAnswer, type SocketQuestion } from '../net/ask-socket.ts';
import type { HubFailure } from './contract.ts';

const ANSWER_BYTES = 16 * 1024 * 1024;

export interface HubsAnswers<T> {
  readonly answers: readonly { readonly hub: number; readonly body: T }[];
  readonly failed: readonly HubFailure[];
}

export interface HubAsker {
  /** Asks all of `slots` at the same time. Never rejects. */
  ask<T>(slots: readonly number[], question: SocketQuestion, deadline: Deadline): Promise<HubsAnswers<T>>;
}

export function createHubAsker(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** Directory of the private sockets. */
  readonly runDir: string;
}): HubAsker {
  const { kernel, limits, runDir } = parts;

  async function one<T>(slot: number, question: SocketQuestion, deadline: Deadline): Promise<T> {
    using share = deadline.sooner(limits.askMs);
    const path = join(runDir, socketName('hub', slot));
    const answer = askSocket(path, question, { deadline: share, maxBytes: ANSWER_BYTES }).then(bodyOf);
    return (await kernel.waits.for(answer, { label: 'hub-ask', owner: `hub ${slot}`, deadline: share })) as T;
  }

  return {
    async ask<T>(slots: readonly number[], question: SocketQuestion, deadline: Deadline) {
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

function bodyOf({ status, text }: SocketAnswer): unknown {
  const body: unknown = JSON.parse(text);
  if (status < 400) return body;
  const words = (body as { error?: { message?: unknown } } | null)?.error?.message ?? `status ${status}`;
  throw new HubError('server-down', { message: String(words) });
}

function wordsFor(fault: unknown, askMs: number): string {
  if (fault instanceof HubError) {
    return fault.code === 'wait-expired' ? `did not answer within ${askMs} ms` : fault.message;
  }
  const code = (fault as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return 'is not running';
  return fault instanceof Error ? fault.message : String(fault);
}

/**
 * Edge: asks a hub over its private unix socket.
 * Promises: every question ends by `askMs` or the asker's deadline, closes its socket, and reads at most 16 MiB; a hub that does not answer,
 * refuses or talks nonsense is told as a `HubFailure`, never thrown.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import { socketName } from '../kernel/guard-wire.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { HubFailure } from './contract.ts';

const ANSWER_BYTES = 16 * 1024 * 1024;

export interface HubQuestion {
  readonly method: 'GET' | 'POST';
  readonly path: string;
}

export interface HubsAnswers<T> {
  readonly answers: readonly { readonly hub: number; readonly body: T }[];
  readonly failed: readonly HubFailure[];
}

export interface HubAsker {
  /** Asks all of `slots` at the same time. Never rejects. */
  ask<T>(slots: readonly number[], question: HubQuestion, deadline: Deadline): Promise<HubsAnswers<T>>;
}

export function createHubAsker(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  /** Directory of the private sockets. */
  readonly runDir: string;
}): HubAsker {
  const { kernel, limits, runDir } = parts;

  async function one<T>(slot: number, question: HubQuestion, deadline: Deadline): Promise<T> {
    using share = deadline.sooner(limits.askMs);
    const path = join(runDir, socketName('hub', slot));
    const answer = exchange(path, question, share);
    return (await kernel.waits.for(answer, { label: 'hub-ask', owner: `hub ${slot}`, deadline: share })) as T;
  }

  return {
    async ask<T>(slots: readonly number[], question: HubQuestion, deadline: Deadline) {
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

function exchange(socketPath: string, question: HubQuestion, deadline: Deadline): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest({
      socketPath,
      ...question,
      headers: { host: 'localhost', 'content-length': 0 },
      agent: false,
    });
    deadline.onEnd(() => void sent.destroy());
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = []; // bounded by: ANSWER_BYTES
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(bodyOf(response, Buffer.concat(chunks)));
        } catch (fault) {
          reject(fault);
        }
      });
    });
    sent.end();
  });
}

function bodyOf(response: IncomingMessage, bytes: Buffer): unknown {
  const body: unknown = JSON.parse(bytes.toString('utf8'));
  if ((response.statusCode ?? 500) < 400) return body;
  const words = (body as { error?: { message?: unknown } } | null)?.error?.message ?? `status ${response.statusCode}`;
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

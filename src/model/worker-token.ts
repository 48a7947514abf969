/**
 * The right of workers to send requests to the control process: a random token, sent over the fork channels and kept in
 * memory only. Each start of the control process gets a new token; workers that run get it too, and later ones at their
 * start.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SupervisorMessage } from './supervisor-messages.ts';

const TOKEN_BYTES = 32;

interface Process {
  send(message: SupervisorMessage): void;
}

export class WorkerToken {
  #token = '';

  /**
   * Sends the token to a process that has just started; for the control process it creates a new one and sends it to
   * `workers` as well.
   */
  handOut(role: 'hub' | 'control', process: Process, workers: readonly Process[]): void {
    if (role === 'control') this.#token = randomBytes(TOKEN_BYTES).toString('hex');
    for (const to of role === 'control' ? [process, ...workers] : [process])
      if (this.#token !== '') to.send({ t: 'worker-token', token: this.#token });
  }
}

/** Compares a presented token with the expected one in constant time. Undefined never matches. */
export function isSameToken(shown: string | string[] | undefined, own: string | undefined): boolean {
  if (typeof shown !== 'string' || own === undefined) return false;
  return timingSafeEqual(digestOf(shown), digestOf(own));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

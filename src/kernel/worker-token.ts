/**
 * The right of workers to send requests to the control process: a random token, sent over the fork channels and kept in memory only.
 * Each start of the control process gets a new token; workers that run get it too, and later ones at their start.
 */
import { randomBytes } from 'node:crypto';
import type { GuardWord } from './guard-wire.ts';

const TOKEN_BYTES = 32;

interface Process {
  say(word: GuardWord): void;
}

export class WorkerToken {
  #token = '';

  /** Sends the token to a process that was forked a moment ago; for the control process it makes a new one and sends that to `workers` too. */
  forked(role: 'hub' | 'control', process: Process, workers: readonly Process[]): void {
    if (role === 'control') this.#token = randomBytes(TOKEN_BYTES).toString('hex');
    for (const to of role === 'control' ? [process, ...workers] : [process])
      if (this.#token !== '') to.say({ t: 'worker-token', token: this.#token });
  }
}

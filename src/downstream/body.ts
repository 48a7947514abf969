/**
 * Reads a request's body up to a limit, before anything is parsed, for a caller that has been identified.
 * Guarantees: sends `100 Continue` only here; never holds more than `bodyBytes`; refuses a larger body as soon as it is known; a slow body ends
 * at `bodyMs`; calls `done` exactly once. What a refused sender goes on sending is discarded by `http-response.ts`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isRefusal, type Outcome, Refusal } from '../kernel/outcome.ts';
import type { Authorized } from './authorized.ts';
import { guardCallback } from './guarded-http.ts';
import { resumeInTurn } from './pacing.ts';

export interface BodyRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The type is the proof that the sender has been identified. */
  readonly authorized: Authorized;
}

export function readBody(
  { request, response }: BodyRequest,
  parts: { kernel: Kernel; limits: Limits },
  done: (body: Outcome<Buffer>) => void,
): void {
  const maxBytes = parts.limits.bodyBytes;
  const expected = Number(request.headers['content-length'] ?? -1);
  let first: Buffer | undefined;
  let chunks: Buffer[] | undefined; // bounded by: bodyBytes
  let size = 0;
  let watch: { leave(): void } | undefined;

  function finish(outcome: Outcome<Buffer>): void {
    request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    watch?.leave();
    if (isRefusal(outcome)) return done(outcome);
    resumeInTurn({ request, response, handle: () => done(outcome) });
  }
  function onData(chunk: Buffer): void {
    size += chunk.length;
    if (size !== expected) parts.kernel.timers.runLate(parts.kernel.clock.nowMs());
    if (size > maxBytes) return finish(tooLarge(maxBytes));
    if (!first) first = chunk;
    else if (chunks) chunks.push(chunk);
    else chunks = [first, chunk];
    // Most bodies come in one piece; only the others are a wait worth showing.
    if (size !== expected && !watch)
      watch = watchBody(
        parts,
        guardCallback(parts.kernel, response, () => finish(new Refusal('body-slow'))),
      );
  }
  function onEnd(): void {
    finish(chunks ? Buffer.concat(chunks, size) : (first ?? EMPTY));
  }
  function onGone(): void {
    finish(new Refusal('client-gone'));
  }

  if (expected > maxBytes) return done(tooLarge(maxBytes));
  if (expectsContinue(request)) response.writeContinue();
  request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
}

const EMPTY = Buffer.alloc(0);

function expectsContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion === '1.1' && /^100-continue$/i.test(headers.expect);
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal('body-too-large', `The body is larger than ${maxBytes} bytes.`, { setting: 'bodyBytes' });
}

function watchBody(parts: { kernel: Kernel; limits: Limits }, expired: () => void): { leave(): void } {
  const deadline = parts.kernel.deadline(parts.limits.bodyMs);
  const wait = parts.kernel.waits.open('body', 'request', deadline);
  deadline.onEnd(expired);
  return {
    leave() {
      wait.leave();
      deadline[Symbol.dispose]();
    },
  };
}

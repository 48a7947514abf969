/**
 * Reads a request's body up to a ceiling, before anything is parsed.
 * Promises: never holds more than `maxBytes`; a body that is too large is read off and dropped up to four times that, so that its sender
 * gets to see the 413, and is cut beyond; a body that trickles ends at `bodyMs`; `done` is called exactly once.
 * Does not: look at the bytes.
 */
import type { IncomingMessage } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type Outcome, Refusal } from '../kernel/outcome.ts';

const DROP_FACTOR = 4;

export function readBody(
  request: IncomingMessage,
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
    done(outcome);
  }
  function onData(chunk: Buffer): void {
    size += chunk.length;
    if (size > maxBytes) {
      first = undefined;
      chunks = undefined;
      if (size > maxBytes * DROP_FACTOR) finish(tooLarge(maxBytes));
      return;
    }
    if (!first) first = chunk;
    else if (chunks) chunks.push(chunk);
    else chunks = [first, chunk];
    // Most bodies come in one piece; only the others are a wait worth showing.
    if (size !== expected && !watch) watch = watchBody(parts, () => finish(new Refusal('body-slow')));
  }
  function onEnd(): void {
    if (size > maxBytes) finish(tooLarge(maxBytes));
    else finish(chunks ? Buffer.concat(chunks, size) : (first ?? EMPTY));
  }
  function onGone(): void {
    finish(new Refusal('client-gone'));
  }

  if (expected > maxBytes * DROP_FACTOR) done(tooLarge(maxBytes));
  else request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
}

const EMPTY = Buffer.alloc(0);

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

/**
 * Reads the body of an identified caller's request up to a limit, before anything is parsed.
 * Guarantees: only this file sends `100 Continue`; at most `bodyBytes` are held; a larger body is refused as soon as
 * its size is known, a slow one at `bodyMs`; `done` is called exactly once, with a refusal if the key was revoked
 * meanwhile.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Authorized } from './authorized.ts';
import { type Bodies, type BodyCount, SMALL_BYTES } from './bodies.ts';
import { type BodyReceiver, closeBody, guardCallback, receiveBody, stopReceiving } from './guarded-http.ts';
import { refuseCoding } from './header-values.ts';
import { mayGoOn, resumeInTurn } from './pacing.ts';

export interface BodyRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The type proves that the sender was identified. */
  readonly authorized: Authorized;
}

export interface BodyParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'bodyBytes' | 'bodyMs'>;
  readonly bodies: Bodies;
}

export function readBody(
  { request, response, authorized }: BodyRequest,
  parts: BodyParts,
  /** `count`: the memory of the body; undefined for a small one. */
  done: (body: Outcome<Buffer>, count?: BodyCount) => void,
): void {
  let count: BodyCount | undefined;
  const maxBytes = parts.limits.bodyBytes;
  const expected = Number(request.headers['content-length'] ?? -1);
  let first: Buffer | undefined;
  let chunks: Buffer[] | undefined; // bounded by: bodyBytes
  let size = 0;
  let watch: { leave(): void } | undefined;
  let isReceiving = false;
  let isFinished = false;

  function finish(outcome: Outcome<Buffer>): void {
    isFinished = true;
    if (isReceiving) stopReceiving(request);
    else request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    watch?.leave();
    count?.end();
    if (isRefusal(outcome)) return done(outcome);
    // The sender's key may be revoked while the body arrives.
    const lost = parts.runtime.openWork.refusalFor(authorized.caller);
    if (lost) return done(lost);
    if (mayGoOn(request)) return done(outcome, count);
    resumeInTurn({ request, response, handle: () => done(outcome, count) });
  }
  function onData(chunk: Buffer): void {
    size += chunk.length;
    if (size !== expected) parts.runtime.timers.runLate(parts.runtime.clock.nowMs());
    if (size > maxBytes) return finish(tooLarge(maxBytes));
    if (!first) first = chunk;
    else if (chunks) chunks.push(chunk);
    else chunks = [first, chunk];
    // Most bodies are small and come in one piece; only the others are counted, and their wait is shown.
    if (size === expected && size <= SMALL_BYTES) return;
    count ??= parts.bodies.count(authorized.caller.owner, response);
    const refusal = count.holds(size) ?? (size === expected ? undefined : count.begin());
    if (refusal) finish(refusal);
    else if (size !== expected && !watch)
      watch = watchBody(
        parts,
        guardCallback(parts.runtime, response, () => finish(new Refusal('body-slow'))),
      );
  }
  function onEnd(): void {
    if (isReceiving) closeBody(request);
    finish(chunks ? Buffer.concat(chunks, size) : (first ?? EMPTY));
  }
  function onGone(): void {
    finish(new Refusal('client-gone'));
  }

  const coded = refuseCoding(request);
  if (coded) return done(coded);
  if (expected > maxBytes) return done(tooLarge(maxBytes));
  if (expected > SMALL_BYTES) {
    // The announced size is counted before a byte is read.
    count = parts.bodies.count(authorized.caller.owner, response);
    const refusal = count.holds(expected);
    if (refusal) return done(refusal);
  }
  if (expectsContinue(request)) response.writeContinue();
  const receiver: BodyReceiver = { data: onData, end: onEnd, gone: onGone };
  isReceiving = receiveBody(request, receiver);
  if (isReceiving) return;
  if (!request.complete) request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  else if (request.destroyed) onGone();
  else {
    // The request has waited for its turn, and the whole body is in its stream.
    isReceiving = true;
    closeBody(request);
    const body: Buffer | null = request.read();
    if (body !== null) onData(body);
    if (!isFinished) onEnd();
  }
}

const EMPTY = Buffer.alloc(0);

function expectsContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.expect !== undefined && httpVersion === '1.1' && /^100-continue$/i.test(headers.expect);
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal('body-too-large', `The body is larger than ${maxBytes} bytes.`, { setting: 'bodyBytes' });
}

function watchBody(parts: Pick<BodyParts, 'runtime' | 'limits'>, expired: () => void): { leave(): void } {
  const deadline = parts.runtime.deadline(parts.limits.bodyMs);
  const wait = parts.runtime.waits.open('body', 'request', deadline);
  deadline.onEnd(expired);
  return {
    leave() {
      wait.leave();
      deadline[Symbol.dispose]();
    },
  };
}

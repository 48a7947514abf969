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

/** `count`: the memory of the body; undefined for a small one. */
type BodyHandler = (body: Outcome<Buffer>, count?: BodyCount) => void;

export function readBody(asked: BodyRequest, parts: BodyParts, done: BodyHandler): void {
  new BodyReading(asked, parts, parts.limits.bodyBytes, done).begin();
}

/** One body that is being read; one object for each request, without closures. */
class BodyReading implements BodyReceiver {
  readonly #asked: BodyRequest;
  readonly #parts: BodyParts;
  readonly #maxBytes: number;
  readonly #done: BodyHandler;
  /** Announced bytes; -1 when they are not. */
  readonly #expectedBytes: number;
  #count: BodyCount | undefined;
  #first: Buffer | undefined;
  /** All of them, when there are several. */
  #chunks: Buffer[] | undefined; // bounded by: bodyBytes
  #bytes = 0;
  #watch: { leave(): void } | undefined;
  /** The parser, or this object itself, passes the body on; otherwise it comes from Node's stream. */
  #isReceiving = false;
  #isFinished = false;
  #removeListeners: (() => void) | undefined;

  constructor(asked: BodyRequest, parts: BodyParts, maxBytes: number, done: BodyHandler) {
    this.#asked = asked;
    this.#parts = parts;
    this.#maxBytes = maxBytes;
    this.#done = done;
    this.#expectedBytes = Number(asked.request.headers['content-length'] ?? -1);
  }

  begin(): void {
    const { request, response } = this.#asked;
    const refusal = this.#refuseHeaders();
    if (refusal) return this.#done(refusal);
    if (expectsContinue(request)) response.writeContinue();
    this.#isReceiving = receiveBody(request, this);
    if (this.#isReceiving) return;
    if (!request.complete) this.#listen();
    else if (request.destroyed) this.gone();
    else this.#readStream();
  }

  data(chunk: Buffer): void {
    const { runtime } = this.#parts;
    this.#bytes += chunk.length;
    const isWhole = this.#bytes === this.#expectedBytes;
    if (!isWhole) runtime.timers.runLate(runtime.clock.nowMs());
    if (this.#bytes > this.#maxBytes) return this.#finish(tooLarge(this.#maxBytes));
    if (!this.#first) this.#first = chunk;
    else if (this.#chunks) this.#chunks.push(chunk);
    else this.#chunks = [this.#first, chunk];
    // Most bodies are small and come in one piece; only the others are counted, and their wait is shown.
    if (!isWhole || this.#bytes > SMALL_BYTES) this.#countArrived(isWhole);
  }

  end(): void {
    if (this.#isReceiving) closeBody(this.#asked.request);
    this.#finish(this.#chunks ? Buffer.concat(this.#chunks, this.#bytes) : (this.#first ?? EMPTY));
  }

  gone(): void {
    this.#finish(new Refusal('client-gone'));
  }

  /** Returns the refusal of a body that must not be read. */
  #refuseHeaders(): Refusal | undefined {
    const coded = refuseCoding(this.#asked.request);
    if (coded) return coded;
    if (this.#expectedBytes > this.#maxBytes) return tooLarge(this.#maxBytes);
    // The announced size is counted before a byte is read.
    return this.#expectedBytes > SMALL_BYTES ? this.#counted().holds(this.#expectedBytes) : undefined;
  }

  #counted(): BodyCount {
    const { authorized, response } = this.#asked;
    this.#count ??= this.#parts.bodies.count(authorized.caller.owner, response);
    return this.#count;
  }

  #countArrived(isWhole: boolean): void {
    const count = this.#counted();
    const refusal = count.holds(this.#bytes) ?? (isWhole ? undefined : count.begin());
    if (refusal) this.#finish(refusal);
    else if (!isWhole && !this.#watch) {
      const expired = (): void => this.#finish(new Refusal('body-slow'));
      this.#watch = watchBody(this.#parts, guardCallback(this.#parts.runtime, this.#asked.response, expired));
    }
  }

  #listen(): void {
    const { request } = this.#asked;
    const onData = (chunk: Buffer): void => this.data(chunk);
    const onEnd = (): void => this.end();
    const onGone = (): void => this.gone();
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    this.#removeListeners = () => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
    };
  }

  /** Reads a body that is in Node's stream as a whole, because its request has waited for its turn. */
  #readStream(): void {
    const { request } = this.#asked;
    this.#isReceiving = true;
    closeBody(request);
    const body: Buffer | null = request.read();
    if (body !== null) this.data(body);
    if (!this.#isFinished) this.end();
  }

  #finish(outcome: Outcome<Buffer>): void {
    const { request, response, authorized } = this.#asked;
    this.#isFinished = true;
    if (this.#isReceiving) stopReceiving(request);
    this.#removeListeners?.();
    this.#watch?.leave();
    this.#count?.end();
    if (isRefusal(outcome)) return this.#done(outcome);
    // The sender's key may be revoked while the body arrives.
    const lost = this.#parts.runtime.openWork.refusalFor(authorized.caller);
    if (lost) return this.#done(lost);
    if (mayGoOn(request)) return this.#done(outcome, this.#count);
    resumeInTurn({ request, response, handle: () => this.#done(outcome, this.#count) });
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

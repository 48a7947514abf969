/**
 * The answer to one request of another worker: JSON, or an event stream from the first progress on.
 * Guarantees: exactly one answer, and nothing after it; a worker that does not read is disconnected at `streamBytes` of
 * progress or `streamSlowMs` after the answer.
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../../config/limits.ts';
import type { Refusal } from '../../model/outcome.ts';
import { sseEvent } from '../../protocol/sse.ts';
import { notificationFrame, rawErrorFrame, refusalFrame, resultFrame } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';

const NULL = Buffer.from('null');

export class PeerReply {
  readonly #runtime: Runtime;
  readonly #limits: Limits;
  readonly #response: ServerResponse;
  readonly #slug: string;
  /** Raw JSON text of the request's id. */
  idRaw: Buffer = NULL;
  #over = false;

  constructor(runtime: Runtime, limits: Limits, response: ServerResponse, slug: string) {
    this.#runtime = runtime;
    this.#limits = limits;
    this.#response = response;
    this.#slug = slug;
    response.on('error', () => {});
  }

  /** Calls `gone` when the worker disconnects before the answer. */
  onGone(gone: () => void): void {
    if (this.#response.destroyed) gone();
    else
      this.#response.on('close', () => {
        if (!this.#over) gone();
      });
  }

  status(code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#response.writeHead(code, { 'content-length': 0 });
    this.#finish(undefined);
  }

  notify(method: string, params: Buffer): void {
    if (this.#over || this.#response.destroyed) return;
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'content-type': 'text/event-stream' });
    this.#response.write(sseEvent({ data: notificationFrame(method, params) }));
    if (this.#response.writableLength > this.#limits.streamBytes) this.#response.destroy();
  }

  answer(reply: UpstreamReply): void {
    this.#end(reply.kind === 'result' ? resultFrame(this.idRaw, reply.json) : rawErrorFrame(this.idRaw, reply.json));
  }

  refuse(refusal: Refusal): void {
    this.#end(refusalFrame(this.idRaw, refusal));
  }

  #end(frame: Buffer): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#response.headersSent) {
      this.#finish(sseEvent({ data: frame }));
      return;
    }
    this.#response.writeHead(200, { 'content-type': 'application/json', 'content-length': frame.length });
    this.#finish(frame);
  }

  #finish(last: Buffer | undefined): void {
    const response = this.#response;
    if (response.destroyed) return;
    const deadline = this.#runtime.deadline(this.#limits.streamSlowMs);
    const wait = this.#runtime.waits.open('drain', `peer ${this.#slug}`, deadline);
    deadline.onEnd(() => response.destroy());
    response.on('close', () => {
      wait.leave();
      deadline[Symbol.dispose]();
    });
    response.end(last);
  }
}

/**
 * The HTTP side of `mcphub bridge`: one POST per message, the session, its GET stream, and interrupted streams.
 * `bridge.ts` handles stdio.
 * Guarantees: each request gets exactly one response unless the client cancels it, also when the hub stops during the
 * call (the stream is resumed, otherwise the client gets an error); when the hub does not know the session any more, it
 * is opened again, once; nothing waits for ever for a hub that does not respond.
 */
import type { IncomingMessage } from 'node:http';
import { isRefusal } from '../model/outcome.ts';
import { ABSENT } from '../protocol/message.ts';
import { paramSpan, scanEnvelope } from '../protocol/scan.ts';
import { SseDecoder } from '../protocol/sse.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { answerFor } from './answer.ts';
import { type BridgeRequest, type BridgeTarget, type RequestHandlers, sendRequest } from './request.ts';

/** Receives the results of messages. */
export interface BridgeHandlers {
  /** One JSON-RPC message for the client. */
  message(text: Buffer): void;
  /** The request `idRaw` ended without a response. */
  failed(idRaw: Buffer, why: string): void;
  warn(words: string): void;
}

const TRIES = 8;
/** A hub that takes longer than this (ms) to open a session counts as unavailable. */
const RENEW_MS = 10_000;
const TRY_AGAIN_MS = 500;
const MAX_BYTES = 64 * 1024 * 1024;

/** A request of the client without a response yet. */
interface Pending {
  /** Raw JSON text of its id. */
  readonly idRaw: Buffer;
  /** True after the client has cancelled it: nothing is written with its id any more. */
  isCancelled: boolean;
}

interface Post {
  readonly body: Buffer;
  readonly pending: Pending | undefined;
  readonly isInitialize: boolean;
  readonly tries: number;
}

export class BridgeConnection {
  readonly #runtime: Runtime;
  readonly #target: BridgeTarget;
  readonly #handlers: BridgeHandlers;
  #session: string | undefined;
  /** The client's initialize request, used to open the session again. */
  #hello: Buffer | undefined;
  #renewing: Promise<boolean> | undefined;
  #standing: { lastId: string | undefined } | undefined;
  #stopped = false;
  /** Requests that wait for their response. */
  readonly #pending = new Set<Pending>(); // bounded by: what the client asks at once

  constructor(runtime: Runtime, target: BridgeTarget, handlers: BridgeHandlers) {
    this.#runtime = runtime;
    this.#target = target;
    this.#handlers = handlers;
  }

  /** Number of requests that wait for their response. */
  get open(): number {
    return this.#pending.size;
  }

  send(body: Buffer, about: { idRaw: Buffer | undefined; method: string }): void {
    const isInitialize = about.method === 'initialize';
    if (isInitialize) this.#hello = body;
    const pending = about.idRaw && { idRaw: about.idRaw, isCancelled: false };
    if (pending) this.#pending.add(pending);
    if (about.method === 'notifications/cancelled') this.#cancel(body);
    this.#post({ body, pending, isInitialize, tries: 0 });
    if (about.method === 'notifications/initialized') this.#stand(undefined, 0);
  }

  /** Ends the session; settles when the hub has confirmed it, or after a second. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#session === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = this.#runtime.timers.after(1000, resolve);
      const done = (): void => {
        timer[Symbol.dispose]();
        resolve();
      };
      this.#request('DELETE', {}, undefined, {
        answer: (answer) => void answer.resume().on('end', done),
        failed: done,
      });
    });
  }

  #post(post: Post): void {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    this.#request('POST', headers, post.body, {
      answer: (answer) => this.#answered(post, answer),
      failed: (why, wasConnected) => {
        // A request that never reached the hub can be sent again: the hub is being started or replaced.
        if (!wasConnected && post.tries < TRIES && !this.#stopped)
          this.#runtime.timers.after(TRY_AGAIN_MS, () => this.#post({ ...post, tries: post.tries + 1 }));
        else this.#fail(post.pending, why);
      },
    });
  }

  #answered(post: Post, answer: IncomingMessage): void {
    const { statusCode: status = 0, headers } = answer;
    const session = headers['mcp-session-id'];
    if (post.isInitialize && typeof session === 'string') this.#session = session;
    if (status === 404 && this.#session !== undefined && !post.isInitialize && post.tries < TRIES) {
      answer.resume();
      void this.#renew().then((renewed) => {
        if (renewed) this.#post({ ...post, tries: TRIES });
        else this.#fail(post.pending, 'the session is no longer known to the hub');
      });
      return;
    }
    if (headers['content-type']?.startsWith('text/event-stream')) this.#stream(post.pending, answer, 0);
    else this.#whole(post.pending, answer, status);
  }

  #whole(pending: Pending | undefined, answer: IncomingMessage, status: number): void {
    const chunks: Buffer[] = []; // bounded by: MAX_BYTES
    let bytes = 0;
    answer.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) answer.destroy(new Error('the answer is too large'));
      else chunks.push(chunk);
    });
    answer.on('error', (fault) => this.#fail(pending, fault.message));
    answer.on('end', () => {
      if (!pending && status >= 400)
        this.#handlers.warn(`the hub refused a notification or reply with status ${status}`);
      if (!pending) return;
      if (pending.isCancelled) return void this.#pending.delete(pending);
      const text = Buffer.concat(chunks);
      const reply = answer.headers['content-type']?.includes('json') ? answerFor(pending.idRaw, text) : undefined;
      if (reply) this.#settled(pending, reply);
      else this.#fail(pending, `the hub returned status ${status}`);
    });
  }

  /** Reads a response that is a stream; after an interruption it is resumed at the last event. */
  #stream(pending: Pending | undefined, answer: IncomingMessage, tries: number, from?: string): void {
    let lastId = from;
    let over = false;
    const decoder = new SseDecoder(MAX_BYTES, (event) => {
      lastId = event.id ?? lastId;
      if (event.data.length === 0) return;
      const reply = pending && answerFor(pending.idRaw, event.data);
      if (pending && reply) {
        over = true;
        this.#settled(pending, reply);
      } else this.#handlers.message(event.data);
    });
    answer.on('data', (chunk: Buffer) => decoder.push(Buffer.from(chunk)));
    answer.on('error', () => {});
    answer.on('close', () => {
      if (over || !pending) return;
      if (pending.isCancelled) return void this.#pending.delete(pending);
      if (lastId === undefined || tries >= TRIES || this.#stopped)
        return this.#fail(pending, 'the connection to the hub broke during the call');
      this.#runtime.timers.after(TRY_AGAIN_MS, () => this.#resume(pending, lastId ?? '', tries + 1));
    });
  }

  #resume(pending: Pending, lastId: string, tries: number): void {
    const again = (why: string): void => {
      if (tries >= TRIES || this.#stopped) this.#fail(pending, why);
      else this.#runtime.timers.after(TRY_AGAIN_MS, () => this.#resume(pending, lastId, tries + 1));
    };
    this.#request('GET', { accept: 'text/event-stream', 'last-event-id': lastId }, undefined, {
      answer: (answer) => {
        if (answer.statusCode === 200) return this.#stream(pending, answer, tries, lastId);
        answer.resume();
        again(`the hub returned status ${answer.statusCode}`);
      },
      failed: again,
    });
  }

  /** Keeps the GET stream open for messages that do not belong to a request, as long as the session exists. */
  #stand(lastId: string | undefined, tries: number): void {
    const mine = { lastId };
    this.#standing = mine;
    const again = (): void => {
      if (this.#stopped || this.#standing !== mine) return;
      const restMs = Math.min(TRY_AGAIN_MS * 2 ** Math.min(tries, 6), 30_000);
      this.#runtime.timers.after(restMs, () => {
        if (this.#standing === mine) this.#stand(mine.lastId, tries + 1);
      });
    };
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (lastId !== undefined) headers['last-event-id'] = lastId;
    this.#request('GET', headers, undefined, {
      answer: (answer) => {
        if (answer.statusCode !== 200) {
          answer.resume();
          return again();
        }
        const decoder = new SseDecoder(MAX_BYTES, (event) => {
          mine.lastId = event.id ?? mine.lastId;
          if (event.data.length > 0) this.#handlers.message(event.data);
        });
        answer.on('data', (chunk: Buffer) => decoder.push(Buffer.from(chunk)));
        answer.on('error', () => {});
        answer.on('close', () => {
          if (this.#standing === mine && !this.#stopped) this.#stand(mine.lastId, 0);
        });
      },
      failed: again,
    });
  }

  /** Renews the session once for all requests that got the same 404. */
  #renew(): Promise<boolean> {
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  #renewOnce(): Promise<boolean> {
    const hello = this.#hello;
    this.#session = undefined;
    if (!hello) return Promise.resolve(false);
    this.#handlers.warn('the session was lost; opening a new one');
    return new Promise((settle) => {
      const timer = this.#runtime.timers.after(RENEW_MS, () => settle(false));
      const resolve = (renewed: boolean): void => {
        timer[Symbol.dispose]();
        settle(renewed);
      };
      const headers = { 'content-type': 'application/json', accept: 'application/json' };
      this.#request('POST', headers, hello, {
        answer: (answer) => {
          const session = answer.headers['mcp-session-id'];
          answer.resume();
          if (typeof session !== 'string') return resolve(false);
          this.#session = session;
          this.#stand(undefined, 0);
          resolve(true);
        },
        failed: () => resolve(false),
      });
    });
  }

  #cancel(notification: Buffer): void {
    const id = cancelledId(notification);
    for (const pending of this.#pending) if (pending.idRaw.equals(id)) pending.isCancelled = true;
  }

  #settled(pending: Pending, text: Buffer): void {
    this.#pending.delete(pending);
    if (!pending.isCancelled) this.#handlers.message(text);
  }

  #fail(pending: Pending | undefined, why: string): void {
    if (!pending) return this.#handlers.warn(why);
    this.#pending.delete(pending);
    if (!pending.isCancelled) this.#handlers.failed(pending.idRaw, why);
  }

  #request(
    method: BridgeRequest['method'],
    headers: Readonly<Record<string, string>>,
    body: Buffer | undefined,
    handlers: RequestHandlers,
  ): void {
    sendRequest(this.#target, this.#runtime.timers, { method, headers, body, session: this.#session }, handlers);
  }
}

/** Returns the raw JSON text of the id that a cancellation names; empty when there is none. */
function cancelledId(notification: Buffer): Buffer {
  const envelope = scanEnvelope(notification, { maxDepth: 512, maxIdBytes: 1024, strict: false });
  const id = isRefusal(envelope) ? ABSENT : paramSpan(envelope, 'requestId');
  return id.at < 0 ? Buffer.alloc(0) : notification.subarray(id.at, id.end);
}

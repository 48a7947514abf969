/**
 * Passes an owner's `/api/*` request to the control process over its private socket, and the answer back. The caller
 * has checked that the key is an owner's.
 * Guarantees: the request is built from method, path, key id and a body of known length, without headers of the client;
 * it ends by `forwardMs`, with 503 `control-away` when control does not answer.
 */
import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { LIMITS, type Limits } from '../config/limits.ts';
import { KEY_ID_HEADER, ROLE_HEADER, WORKER_TOKEN_HEADER } from '../model/control-headers.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import type { Principal } from '../model/principal.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount } from '../runtime/shares.ts';
import { pour } from './_pour.ts';
import type { Authorized } from './authorized.ts';
import type { Bodies } from './bodies.ts';
import { readBody } from './body.ts';
import { guardEmitter } from './guarded-http.ts';
import { declaresBody, writeApiRefusal } from './http-answer.ts';
import { refuseBody, refuseMethod } from './read-only.ts';

const KEPT = 4;
const METHODS: ReadonlySet<string> = new Set(['GET', 'POST', 'DELETE']);
/** Printable ASCII without spaces, which a request line can carry unchanged. */
const PATH = /^\/api\/[\x21-\x7e]*$/;
/** Headers of the control process's answer that the client gets. */
const ANSWER_HEADERS = ['content-type', 'content-length', 'cache-control', 'allow', 'retry-after'] as const;

export interface ForwardParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly bodies: Bodies;
  /** The control process's socket for workers. */
  readonly socketPath: string;
  /** Undefined until one has come over the fork channel; until then the control process counts as unavailable. */
  readonly token: () => string | undefined;
}

export class Forward {
  readonly #parts: ForwardParts;
  // On kept connections, Node's last, empty write of a request can meet an end that control has closed after its
  // answer, and the answer is lost (measured: once in some thousand requests on a busy machine).
  readonly #agent = new Agent({ keepAlive: true, maxSockets: LIMITS.adminRequests.max, maxFreeSockets: KEPT });
  readonly #inside: FairCount;

  constructor(parts: ForwardParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    this.#inside = new FairCount(
      'downstream.forwards',
      () => limits.adminRequests,
      () => limits.adminRequestsPerKey,
      'refuse',
      runtime.ceilings,
    );
  }

  /** `path` is without the query, which may contain a key. */
  send(
    request: IncomingMessage,
    response: ServerResponse,
    { path, authorized }: { readonly path: string; readonly authorized: Authorized },
  ): void {
    const { limits, runtime, bodies } = this.#parts;
    const method = request.method ?? '';
    const by = authorized.caller.principal;
    if (!METHODS.has(method)) return refuseMethod(request, response, [...METHODS].join(', '));
    if (method !== 'POST' && declaresBody(request)) return refuseBody(request, response);
    if (!PATH.test(path)) return writeApiRefusal(request, response, new Refusal('not-found'));
    const taken = this.#inside.take(by.family);
    if (taken !== 'taken') return writeApiRefusal(request, response, busy(taken, limits));
    const finished = (): void => this.#inside.give(by.family);
    const deadline = runtime.deadline(limits.forwardMs);
    const parts = { ...this.#parts, agent: this.#agent, deadline, finished };
    const forwarded = new ForwardedRequest({ request, response, path, by }, parts);
    if (method !== 'POST') return forwarded.send(EMPTY);
    const bounds = { bodyBytes: limits.adminBodyBytes, bodyMs: limits.bodyMs };
    readBody({ request, response, authorized }, { runtime, limits: bounds, bodies }, (body) => {
      if (!isRefusal(body)) return forwarded.send(body);
      writeApiRefusal(request, response, adminWords(body, limits));
      forwarded.finish();
    });
  }
}

/** What is asked of control, and by whom. */
interface Forwarded {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly by: Principal;
}

interface ForwardedParts extends ForwardParts {
  readonly agent: Agent;
  /** Ended by the request when it is finished. */
  readonly deadline: Deadline;
  /** Called once, when nothing of the request is pending any more. */
  readonly finished: () => void;
}

/** A request to control, until it is answered, its client leaves, or its time ends. */
class ForwardedRequest {
  readonly #asked: Forwarded;
  readonly #parts: ForwardedParts;
  readonly #wait: { leave(): void };
  #sent: ClientRequest | undefined;
  #isFinished = false;

  constructor(asked: Forwarded, parts: ForwardedParts) {
    this.#asked = asked;
    this.#parts = parts;
    this.#wait = parts.runtime.waits.open('control-forward', routeName(asked.path), parts.deadline);
    parts.deadline.onEnd(() => {
      if (this.#sent) this.#sent.destroy(new Error('control did not answer in time'));
      else this.#answerAway();
    });
    asked.response.on('close', () => {
      this.#sent?.destroy();
      this.finish();
    });
  }

  send(body: Buffer): void {
    if (this.#isFinished) return;
    const { runtime, socketPath, agent } = this.#parts;
    const { request, response, path, by } = this.#asked;
    const token = this.#parts.token();
    if (token === undefined) return this.#answerAway();
    const { method } = request;
    const sent = httpRequest({ socketPath, method, path, headers: headersFor(token, by, body), agent });
    this.#sent = sent;
    guardEmitter(runtime, sent, response);
    sent.on('response', (answer) => {
      guardEmitter(runtime, answer, response);
      // The control process has a newer token than this worker, because it has just restarted.
      if (answer.statusCode !== 401) return passBack(answer, response);
      answer.resume();
      this.#answerAway();
    });
    sent.on('error', () => this.#answerAway());
    sent.on('close', () => this.finish());
    sent.end(body);
  }

  /** Idempotent. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#parts.finished();
    this.#wait.leave();
    this.#parts.deadline[Symbol.dispose]();
  }

  /** Answers that control is unavailable. */
  #answerAway(): void {
    const { request, response } = this.#asked;
    if (response.headersSent) response.destroy();
    else writeApiRefusal(request, response, new Refusal('control-away', undefined, { retryAfterMs: 2000 }));
    this.finish();
  }
}

const EMPTY = Buffer.alloc(0);

function headersFor(token: string, { keyId, role }: Principal, body: Buffer): Record<string, string | number> {
  return {
    host: 'control',
    'content-length': body.length,
    ...(body.length > 0 ? { 'content-type': 'application/json' } : {}),
    [WORKER_TOKEN_HEADER]: token,
    [ROLE_HEADER]: role,
    [KEY_ID_HEADER]: keyId,
  };
}

function passBack(answer: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed) return void answer.destroy();
  const headers = ANSWER_HEADERS.flatMap((name) => {
    const value = answer.headers[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
  answer.on('error', () => response.destroy());
  pour(answer, response);
}

/**
 * Returns `/api/keys` for `/api/keys/mcphub_…`: the rest may be a key, and waits are shown to operators and in crash
 * reports.
 */
function routeName(path: string): string {
  return /^\/api\/[a-z-]{1,40}/.exec(path)?.[0] ?? '/api';
}

function adminWords(refusal: Refusal, { adminBodyBytes }: Limits): Refusal {
  if (refusal.code !== 'body-too-large') return refusal;
  return new Refusal(refusal.code, `The body is larger than ${adminBodyBytes} bytes.`, { setting: 'adminBodyBytes' });
}

function busy(reason: 'share' | 'full', { adminRequests, adminRequestsPerKey }: Limits): Refusal {
  if (reason === 'full')
    return new Refusal('overloaded', `${adminRequests} requests to /api are in progress.`, {
      setting: 'adminRequests',
    });
  const message = `This key has ${adminRequestsPerKey} requests to /api in progress.`;
  return new Refusal('rate-limited', message, { setting: 'adminRequestsPerKey' });
}

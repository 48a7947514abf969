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

export interface Forward {
  /** `path` is without the query, which may contain a key. */
  send(
    request: IncomingMessage,
    response: ServerResponse,
    to: { readonly path: string; readonly authorized: Authorized },
  ): void;
}

export function createForward(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly bodies: Bodies;
  /** The control process's socket for workers. */
  readonly socketPath: string;
  /** Undefined until one has come over the fork channel; until then the control process counts as unavailable. */
  readonly token: () => string | undefined;
}): Forward {
  const { runtime, limits, socketPath } = parts;
  // On kept connections, Node's last, empty write of a request can meet an end that control has closed after its
  // answer, and the answer is lost (measured: once in some thousand requests on a busy machine).
  const agent = new Agent({ keepAlive: true, maxSockets: LIMITS.adminRequests.max, maxFreeSockets: KEPT });
  const inside = new FairCount(
    'downstream.forwards',
    () => limits.adminRequests,
    () => limits.adminRequestsPerKey,
    'refuse',
    runtime.ceilings,
  );

  return {
    send(request, response, { path, authorized }) {
      const method = request.method ?? '';
      const by = authorized.caller.principal;
      if (!METHODS.has(method)) return refuseMethod(request, response, [...METHODS].join(', '));
      if (method !== 'POST' && declaresBody(request)) return refuseBody(request, response);
      if (!PATH.test(path)) return writeApiRefusal(request, response, new Refusal('not-found'));
      const taken = inside.take(by.family);
      if (taken !== 'taken') return writeApiRefusal(request, response, busy(taken, limits));
      const deadline = runtime.deadline(limits.forwardMs);
      const wait = runtime.waits.open('control-forward', routeName(path), deadline);
      let sent: ClientRequest | undefined;
      let over = false;
      const finish = (): void => {
        if (over) return;
        over = true;
        inside.give(by.family);
        wait.leave();
        deadline[Symbol.dispose]();
      };
      const away = (): void => {
        if (response.headersSent) response.destroy();
        else writeApiRefusal(request, response, new Refusal('control-away', undefined, { retryAfterMs: 2000 }));
        finish();
      };
      const onward = (body: Buffer): void => {
        if (over) return;
        const token = parts.token();
        if (token === undefined) return away();
        sent = httpRequest({ socketPath, method, path, headers: headersFor(token, by, body), agent });
        guardEmitter(runtime, sent, response);
        sent.on('response', (answer) => {
          guardEmitter(runtime, answer, response);
          // The control process has a newer token than this worker, because it has just restarted.
          if (answer.statusCode !== 401) return passBack(answer, response);
          answer.resume();
          away();
        });
        sent.on('error', away);
        sent.on('close', finish);
        sent.end(body);
      };
      deadline.onEnd(() => {
        if (sent) sent.destroy(new Error('control did not answer in time'));
        else away();
      });
      response.on('close', () => {
        sent?.destroy();
        finish();
      });
      if (method !== 'POST') return onward(EMPTY);
      const bounds = { bodyBytes: limits.adminBodyBytes, bodyMs: limits.bodyMs };
      readBody({ request, response, authorized }, { runtime, limits: bounds, bodies: parts.bodies }, (body) => {
        if (!isRefusal(body)) return onward(body);
        writeApiRefusal(request, response, adminWords(body, limits));
        finish();
      });
    },
  };
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

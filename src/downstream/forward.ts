/**
 * `/` and `/api/*` are control's: handed over its private socket, and a plain word when control is away.
 * Promises: ends by `forwardMs`; at most a few at once; what the client claims about its role is stripped and replaced.
 * Does not: decide who may (the router has).
 */
import { Agent, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { Refusal } from '../kernel/outcome.ts';
import { pour } from './_pour.ts';
import { writeJson, writeRefusal } from './http-answer.ts';

const AT_ONCE = 64;
const KEPT = 4;
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'proxy-authorization',
  'authorization',
  'x-mcphub-role',
]);

export interface Forward {
  pipe(request: IncomingMessage, response: ServerResponse, role: 'owner' | 'none'): void;
}

/** `status` gives the word for the page that the hub shows by itself. */
export function createForward(parts: {
  kernel: Kernel;
  limits: Limits;
  socketPath: string;
  status: () => string;
}): Forward {
  const { kernel, limits, socketPath } = parts;
  // Kept connections: where control closes after its answer, the runtime's last, empty write of a request can meet a closed end, and then the
  // answer is lost (measured: once in some thousand requests on a busy machine).
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE, maxFreeSockets: KEPT });
  const inside = new CappedCount('downstream.forwards', AT_ONCE, 'refuse', kernel.ceilings);

  function away(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/' && !response.headersSent && !response.destroyed) {
      const page = awayPage(parts.status());
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'content-length': Buffer.byteLength(page),
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
      });
      response.end(page);
      return;
    }
    writeRefusal(response, new Refusal('control-away', undefined, { retryAfterMs: 2000 }), undefined, request);
  }

  return {
    pipe(request, response, role) {
      if (!inside.take()) {
        writeJson(
          response,
          503,
          '{"error":{"code":"overloaded","message":"Too many requests to the control process at once."}}',
          { 'retry-after': '1' },
        );
        return;
      }
      const deadline = kernel.deadline(limits.forwardMs);
      const wait = kernel.waits.open('control-forward', request.url?.slice(0, 60) ?? '/', deadline);
      const upstream = httpRequest({
        socketPath,
        method: request.method,
        path: request.url,
        headers: headersFor(request, role),
        agent,
      });
      let over = false;
      const finish = () => {
        if (over) return;
        over = true;
        inside.give();
        wait.leave();
        deadline[Symbol.dispose]();
      };
      upstream.on('response', (answer) => {
        if (response.destroyed) return upstream.destroy();
        response.writeHead(
          answer.statusCode ?? 502,
          Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP_HEADERS.has(name))),
        );
        pour(answer, response);
        answer.on('error', () => response.destroy());
      });
      upstream.on('error', () => {
        if (response.headersSent) response.destroy();
        else away(request, response);
        finish();
      });
      upstream.on('close', finish);
      response.on('close', () => upstream.destroy());
      deadline.onEnd(() => upstream.destroy(new Error('control did not answer in time')));
      pour(request, upstream);
    },
  };
}

function headersFor(request: IncomingMessage, role: string): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(request.headers))
    if (value !== undefined && !HOP_HEADERS.has(name)) headers[name] = value;
  headers['x-mcphub-role'] = role;
  return headers;
}

function awayPage(status: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>MCPHub</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:4rem auto;padding:0 1rem}code{font-family:ui-monospace,monospace}</style>
<h1>MCPHub</h1><p>The hub is <strong>${status}</strong> and answers calls at <code>/mcp</code>.</p>
<p>Its control process does not answer at the moment, so that this page cannot show more. The guard restarts it; calls are not affected.</p></html>`;
}

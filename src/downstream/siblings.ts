/**
 * What belongs to another hub of this machine is handed to it as it came: its front listens on a unix socket too, and checks key and session
 * itself. A connection of a client lands on any hub; a stream to be resumed and an answer to a question belong to one.
 * Promises: a hub that does not answer within `connectMs` counts as gone; at most a few at once; an answer's bytes are passed on with the
 * client's own pace; whoever leaves first ends the other.
 * Does not: know what is asked (`standing.ts`, `endpoint.ts`).
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import { CappedCount } from '../kernel/capped.ts';
import type { Kernel } from '../kernel/kernel.ts';

const AT_ONCE = 1024;
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
]);

export interface Siblings {
  /** `body` = what was read of the request; `away` runs when that hub cannot be reached, and nothing has been written then. */
  pass(
    request: IncomingMessage,
    response: ServerResponse,
    to: { readonly slot: number; readonly body: Buffer | undefined; readonly away: () => void },
  ): void;
}

export interface SiblingsParts {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly frontSocket: (slot: number) => string;
}

export function createSiblings({ kernel, limits, frontSocket }: SiblingsParts): Siblings {
  const inside = new CappedCount('downstream.siblings', AT_ONCE, 'refuse', kernel.ceilings);
  return {
    pass(request, response, { slot, body, away }) {
      if (!inside.take()) return away();
      const deadline = kernel.deadline(limits.connectMs);
      const wait = kernel.waits.open('owner-forward', `hub-${slot}`, deadline);
      const onward = httpRequest({
        socketPath: frontSocket(slot),
        method: request.method,
        path: request.url,
        headers: headersOf(request),
        agent: false,
      });
      deadline.onEnd(() => onward.destroy());
      const answered = (): void => {
        wait.leave();
        deadline[Symbol.dispose]();
      };
      onward.on('response', (answer) => {
        answered();
        passOn(answer, response, onward);
      });
      onward.on('error', () => {
        if (response.headersSent) response.destroy();
        else if (!response.destroyed) away();
      });
      onward.on('close', () => {
        answered();
        inside.give();
      });
      response.on('close', () => onward.destroy());
      onward.end(body);
    },
  };
}

function passOn(answer: IncomingMessage, response: ServerResponse, onward: ClientRequest): void {
  if (response.destroyed) return void onward.destroy();
  const headers = Object.entries(answer.headers).filter(([name]) => !HOP_HEADERS.has(name));
  response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers));
  answer.on('error', () => response.destroy());
  answer.pipe(response);
}

function headersOf(request: IncomingMessage): Record<string, string | string[]> {
  const headers = Object.entries(request.headers).filter(([name]) => !HOP_HEADERS.has(name));
  return Object.fromEntries(headers) as Record<string, string | string[]>;
}

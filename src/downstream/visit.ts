/**
 * Who comes from where, read off a request once.
 */
import type { IncomingMessage } from 'node:http';
import type { PathTarget } from '../auth/access.ts';
import type { Visit } from '../call/call.ts';

export function visitFrom(request: IncomingMessage, target: PathTarget, local: boolean): Visit {
  const { headers, socket } = request;
  const address = socket.remoteAddress ?? '';
  const sessionId = headers['mcp-session-id'];
  return {
    local,
    authorization: headers.authorization,
    address,
    visitor: {
      loopback: isLoopback(address),
      proxied: headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined,
    },
    target,
    sessionId: typeof sessionId === 'string' && sessionId !== '' ? sessionId : undefined,
  };
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

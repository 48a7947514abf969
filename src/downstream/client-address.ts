/**
 * The address of a client whose request another worker passed on: that worker's header counts only beside the workers' token.
 */
import type { IncomingMessage } from 'node:http';
import { WORKER_TOKEN_HEADER } from '../kernel/control-headers.ts';
import { isSameToken } from '../kernel/worker-token.ts';

/** Set by `siblings.ts`; the router removes it from a request that does not prove to be a worker's. */
export const CLIENT_ADDRESS_HEADER = 'x-mcphub-client-address';

/** Removes the header from a request that came over the port, or without the token. Cheap where there is no header. */
export function dropUnprovenAddress(request: IncomingMessage, token: () => string | undefined): void {
  const { headers, socket } = request;
  if (headers[CLIENT_ADDRESS_HEADER] === undefined) return;
  const isLocal = socket.remoteAddress === undefined;
  if (!isLocal || !isSameToken(headers[WORKER_TOKEN_HEADER], token())) delete headers[CLIENT_ADDRESS_HEADER];
}

/** Returns the client's address: the one that a worker vouches for, else the peer's. */
export function clientAddress({ headers, socket }: IncomingMessage): string {
  const passed = headers[CLIENT_ADDRESS_HEADER];
  return typeof passed === 'string' ? passed : (socket.remoteAddress ?? '');
}

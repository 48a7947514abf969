/**
 * The address of a client whose request came through another worker or a trusted proxy. A worker's header counts only
 * with the workers' token, a proxy's only if its address is in `trustedProxies`.
 */
import type { IncomingMessage } from 'node:http';
import type { TrustedProxies } from '../auth/trusted-proxies.ts';
import { WORKER_TOKEN_HEADER } from '../model/control-headers.ts';
import { isSameToken } from '../model/worker-token.ts';

/** Set by `peer-workers.ts`; the router removes it from requests that do not prove to be a worker's. */
export const CLIENT_ADDRESS_HEADER = 'x-mcphub-client-address';

/** Removes the header from a request that came over the port, or without the token. Costs little without the header. */
export function dropUnprovenAddress(request: IncomingMessage, token: () => string | undefined): void {
  const { headers, socket } = request;
  if (headers[CLIENT_ADDRESS_HEADER] === undefined) return;
  const isLocal = socket.remoteAddress === undefined;
  if (!isLocal || !isSameToken(headers[WORKER_TOKEN_HEADER], token())) delete headers[CLIENT_ADDRESS_HEADER];
}

/** Sets the header to the address from a trusted proxy; call it after `dropUnprovenAddress`. */
export function takeForwardedAddress(request: IncomingMessage, proxies: TrustedProxies): void {
  const { headers, socket } = request;
  const address = proxies.clientBehind(socket.remoteAddress, headers);
  if (address !== undefined) headers[CLIENT_ADDRESS_HEADER] = address;
}

/** Returns the client's address: that from a worker or a trusted proxy, else the peer's. */
export function clientAddress({ headers, socket }: IncomingMessage): string {
  const passed = headers[CLIENT_ADDRESS_HEADER];
  return typeof passed === 'string' ? passed : (socket.remoteAddress ?? '');
}

/**
 * Makes the timeouts of an HTTP server follow the limits. Node reads them when it checks its connections, and when a
 * response has ended.
 */
import type { Server } from 'node:http';
import type { Limits } from '../config/limits.ts';

type TimeoutLimits = Pick<Limits, 'headersMs' | 'requestMs' | 'keepAliveMs'>;

export function followTimeouts(server: Server, limits: TimeoutLimits): void {
  Object.defineProperties(server, {
    headersTimeout: { get: () => limits.headersMs },
    requestTimeout: { get: () => Math.max(limits.requestMs, limits.headersMs) },
    keepAliveTimeout: { get: () => limits.keepAliveMs },
  });
}

/**
 * Decides whether a request on the workers' socket is authorized, and on whose behalf. A missing or wrong header is
 * refused, never treated as another role. Keeps the token in memory only.
 */
import type { IncomingMessage } from 'node:http';
import { KEY_ID_HEADER, ROLE_HEADER, WORKER_TOKEN_HEADER } from '../model/control-headers.ts';
import { type Outcome, Refusal } from '../model/outcome.ts';
import { isSameToken } from '../model/worker-token.ts';
import type { StoredKey } from '../store/keys.ts';

export interface WorkerAuthParts {
  /** Returns undefined while none was received over the fork channel; every request is refused then. */
  readonly token: () => string | undefined;
  readonly keys: () => readonly StoredKey[];
  readonly wallMs: () => number;
}

/** Returns the caller's name for the audit, or `unauthorized` (not a worker) or `forbidden` (no live owner key). */
export function workerCaller(request: IncomingMessage, parts: WorkerAuthParts): Outcome<string> {
  const { [WORKER_TOKEN_HEADER]: token, [ROLE_HEADER]: role, [KEY_ID_HEADER]: keyId } = request.headers;
  if (!isSameToken(token, parts.token())) return new Refusal('unauthorized', 'This socket is for worker processes.');
  const key = role === 'owner' ? parts.keys().find(({ id }) => id === keyId) : undefined;
  if (key === undefined || !mayAdminister(key, parts.wallMs()))
    return new Refusal('forbidden', 'This needs an owner key without groups that is neither revoked nor expired.');
  return auditName(key);
}

/** Returns true when a header of a worker's request is present. */
export function claimsWorker({ headers }: IncomingMessage): boolean {
  return [WORKER_TOKEN_HEADER, ROLE_HEADER, KEY_ID_HEADER].some((name) => headers[name] !== undefined);
}

function mayAdminister({ role, groups, revokedAtMs, expiresAtMs }: StoredKey, nowMs: number): boolean {
  if (role !== 'owner' || groups !== undefined || revokedAtMs !== undefined) return false;
  return expiresAtMs === undefined || nowMs < expiresAtMs;
}

/** Returns `ann, key "laptop" (mcphub_1a2b3c4d)`. */
function auditName({ userName, name, prefix }: StoredKey): string {
  return `${userName}, key ${JSON.stringify(name)} (${prefix})`;
}

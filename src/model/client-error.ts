/**
 * Builds what a client reads of a failure: the JSON-RPC error of the MCP endpoints and the body of `/api`. Nothing else
 * does: operator texts (addresses, paths, HTTP bodies, stderr) stay behind. `test/architecture/client-errors.test.ts`
 * holds other files to it. Fails closed: the message of an error about a server or the machine is never shown, and a
 * detail member passes only if it has a rule here.
 */
import { type ErrorCode, type ErrorDetail, errorRow, isOperatorOnly, type PublicDetail } from './errors.ts';

export interface ClientError {
  /** JSON-RPC error code. */
  readonly code: number;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What a refusal and a fault have in common. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: ErrorDetail;
}

type Rule = (value: unknown) => boolean;

const isFigure: Rule = (value) => typeof value === 'number' && Number.isFinite(value);
/** A word of the hub or of the system (`ECONNREFUSED`): no path, address or sentence looks like one. */
const isWord: Rule = (value) => typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value);
/** What the caller itself has sent, or a constant of the hub. */
const isOwn: Rule = (value) => value !== undefined;

const RULES: Readonly<Record<keyof PublicDetail, Rule>> = {
  server: isWord,
  phase: isWord,
  setting: (value) => typeof value === 'string' && /^[\w.-]{1,64}$/.test(value),
  outcome: isWord,
  reason: isWord,
  cause: isWord,
  reference: isWord,
  signal: isWord,
  waitedMs: isFigure,
  silentMs: isFigure,
  sinceMs: isFigure,
  retryAfterMs: isFigure,
  status: isFigure,
  exitCode: isFigure,
  limitBytes: isFigure,
  unreadBytes: isFigure,
  homeHub: isFigure,
  uri: isOwn,
  header: isOwn,
  supported: isOwn,
  requested: isOwn,
  requiredCapabilities: isOwn,
};
const MEMBERS = Object.keys(RULES) as (keyof PublicDetail)[];

/** Builds the JSON-RPC error for a client. `requestId` names the call in the log. */
export function clientError({ code, message, detail }: Failure, requestId?: string): ClientError {
  const { rpc, retryable } = errorRow(code);
  const shown = publicDetail(detail);
  return {
    code: rpc,
    message: isOperatorOnly(code) ? publicSentence(code, shown) : message,
    data: { code, retryable, ...shown, ...(requestId === undefined ? {} : { requestId }) },
  };
}

/** Body of an error of `/api`, of the page at `/` and of the health pages. */
export interface ApiError {
  readonly error: {
    readonly code: ErrorCode;
    readonly message: string;
    readonly retryable: boolean;
    readonly [detail: string]: unknown;
  };
}

/** Who reads an error of the API: a client, or whoever may read everything (an owner, the operator of this machine). */
export type ApiReader = 'client' | 'operator';

/** Builds the error of an API path. */
export function apiError({ code, message, detail }: Failure, reader: ApiReader): ApiError {
  const { retryable } = errorRow(code);
  if (reader === 'operator') {
    const { operator, ...others } = detail;
    return { error: { ...others, ...operator, code, message, retryable } };
  }
  const shown = publicDetail(detail);
  return {
    error: { ...shown, code, message: isOperatorOnly(code) ? publicSentence(code, shown) : message, retryable },
  };
}

/**
 * Returns the HTTP status of an error of the API; that of the table is for the MCP endpoints, where many errors travel
 * in a 200.
 */
export function apiStatus(code: ErrorCode): number {
  const own: Partial<Record<ErrorCode, number>> = { forbidden: 403, 'config-invalid': 422, 'store-failed': 503 };
  const { http, retryable } = errorRow(code);
  return own[code] ?? (http >= 400 ? http : retryable ? 503 : 400);
}

/** Returns the members of a detail that a client may read. */
function publicDetail(detail: ErrorDetail): PublicDetail {
  const shown: Record<string, unknown> = {};
  for (const member of MEMBERS) {
    const value = detail[member];
    if (value !== undefined && RULES[member](value)) shown[member] = value;
  }
  return shown;
}

/**
 * Describes a failure of a server in the hub's own words: `github: The process of the server exited (phase start, exit
 * code 1).`
 */
export function publicSentence(code: ErrorCode, detail: ErrorDetail): string {
  const { server, phase, status, exitCode, signal, waitedMs, setting, retryAfterMs, reference, reason, cause } =
    publicDetail(detail);
  const about = [
    cause !== undefined && cause !== code && `cause ${cause}`,
    phase !== undefined && `phase ${phase}`,
    reason !== undefined && reason,
    status !== undefined && `HTTP ${status}`,
    exitCode !== undefined && exitCode !== null && `exit code ${exitCode}`,
    signal !== undefined && signal !== null && `signal ${signal}`,
    waitedMs !== undefined && `after ${waitedMs} ms`,
    setting !== undefined && `setting ${setting}`,
    retryAfterMs !== undefined && `retry in ${Math.ceil(retryAfterMs / 1000)} s`,
    reference !== undefined && `reference ${reference}`,
  ].filter((part) => part !== false);
  const summary = errorRow(code).message.replace(/\.$/, '');
  return `${server === undefined ? '' : `${server}: `}${summary}${about.length === 0 ? '' : ` (${about.join(', ')})`}.`;
}

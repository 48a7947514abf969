/**
 * The table of failures: JSON-RPC code, HTTP status, whether a retry helps, whether it counts against the circuit
 * breaker, log level, and a hint for the operator. `docs/errors.md` is generated from it.
 * Guarantees: a code is never renamed; what a client reads of a failure is built by `client-error.ts` alone.
 */
import { randomUUID } from 'node:crypto';

export interface ErrorRow {
  /** JSON-RPC 2.0 error code on the wire. */
  readonly rpc: number;
  /** HTTP status of the exchange when the whole exchange fails with this code. */
  readonly http: number;
  /** True when the same request may succeed a little later. */
  readonly retryable: boolean;
  /**
   * True when the server may be unreachable, so that the failure counts for its circuit breaker; of HTTP errors only
   * 502, 503 and 504 do (`upstream/failure-signs.ts`).
   */
  readonly breaker: boolean;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Default message for the client. */
  readonly message: string;
  /** What an operator can do. */
  readonly hint: string;
}

/**
 * What a client may read beside the message: a closed list, checked again at run time by `client-error.ts`. `outcome:
 * unknown`: the server may have done the work.
 */
export interface PublicDetail {
  readonly server?: string;
  readonly phase?: string;
  readonly waitedMs?: number;
  readonly silentMs?: number;
  readonly sinceMs?: number;
  readonly setting?: string;
  readonly outcome?: 'unknown' | 'not-executed';
  readonly retryAfterMs?: number;
  /** HTTP status of the server's answer. */
  readonly status?: number;
  /** One word: the hub's own, or a system error code. */
  readonly reason?: string;
  /** Code of the failure that caused this one. */
  readonly cause?: string;
  readonly exitCode?: number | null;
  readonly signal?: string | null;
  readonly limitBytes?: number;
  readonly unreadBytes?: number;
  readonly homeHub?: number;
  /** Names this failure in the log, in `servers logs` and in the owner API. */
  readonly reference?: string;
  /** What the caller sent or must send. */
  readonly uri?: string;
  readonly header?: string;
  readonly supported?: readonly string[];
  readonly requested?: string;
  readonly requiredCapabilities?: object;
}

/** `operator` holds what only the operator may read: addresses, paths, commands, error pages of servers. */
export interface ErrorDetail extends PublicDetail {
  readonly operator?: Readonly<Record<string, unknown>>;
}

function row(
  rpc: number,
  http: number,
  level: ErrorRow['level'],
  message: string,
  hint: string,
  more: { retryable?: boolean; breaker?: boolean } = {},
): ErrorRow {
  return { rpc, http, level, message, hint, retryable: more.retryable ?? false, breaker: more.breaker ?? false };
}

const RETRY = { retryable: true } as const;
const GONE = { retryable: true, breaker: true } as const;

export const ERRORS = {
  // Requests of clients
  'parse-error': row(
    -32700,
    400,
    'debug',
    'The body is not well-formed JSON.',
    'The client sent something that is not JSON.',
  ),
  'invalid-request': row(
    -32600,
    400,
    'debug',
    'The body is not a JSON-RPC 2.0 message.',
    'Look at the client: the envelope is wrong.',
  ),
  'method-not-found': row(
    -32601,
    200,
    'debug',
    'Unknown method.',
    'The client asked for a method that this hub does not serve.',
  ),
  'request-state-invalid': row(
    -32602,
    200,
    'info',
    'This requestState was not made by this hub for this request.',
    'It was altered, has expired, was used already, or belongs to another user or request.',
  ),
  'method-not-in-era': row(
    -32601,
    404,
    'debug',
    'Unknown method in protocol 2026-07-28.',
    'The client asked for a method that the stateless era does not have, or that this hub does not serve.',
  ),
  'envelope-invalid': row(
    -32602,
    400,
    'debug',
    'params._meta does not say what protocol 2026-07-28 demands.',
    'Look at the client: each request carries its protocol version and capabilities.',
  ),
  'header-mismatch': row(
    -32020,
    400,
    'info',
    'The Mcp-* headers and the body do not say the same.',
    'Look at the client, or at a proxy that drops or changes headers.',
  ),
  'version-unsupported': row(
    -32022,
    400,
    'debug',
    'This protocol version is not spoken here.',
    'The client names a date that this hub does not know; `data.supported` lists those that it does.',
  ),
  'capability-missing': row(
    -32021,
    400,
    'debug',
    'The client does not declare a capability that this call needs.',
    'Use a client that can ask its user (elicitation, sampling, roots), or another tool.',
  ),
  'invalid-params': row(
    -32602,
    200,
    'debug',
    'The parameters do not fit the method.',
    'Look at the client: a parameter is missing or of the wrong kind.',
  ),
  'unknown-tool': row(
    -32602,
    200,
    'debug',
    'Unknown tool.',
    'The tool is not in the lists of the caller’s group: see `mcphub tools list`.',
  ),
  'unknown-prompt': row(
    -32602,
    200,
    'debug',
    'Unknown prompt.',
    'The prompt is not in the lists of the caller’s group: see prompts/list.',
  ),
  'resource-not-found': row(
    -32002,
    200,
    'debug',
    'Resource not found.',
    'No server of the caller’s group lists this URI or a template that it fits: see resources/list.',
  ),
  'too-deep': row(
    -32600,
    400,
    'info',
    'The body is nested too deeply.',
    'Raise bodyDepth only for a client that is known to need it.',
  ),
  'body-too-large': row(
    -32600,
    413,
    'info',
    'The body is larger than this hub accepts.',
    'Raise bodyBytes if the client is right to send that much.',
  ),
  'body-slow': row(-32600, 408, 'info', 'The body did not arrive in time.', 'A slow or broken client or network.'),
  'media-type': row(
    -32600,
    415,
    'debug',
    'Content-Type must be application/json.',
    'Look at the client’s request headers.',
  ),
  'content-coding': row(
    -32600,
    415,
    'debug',
    'Content-Encoding must be identity: bodies of requests are not decoded here.',
    'Turn off compression of requests in the client, or in the proxy between it and the hub.',
  ),
  'expectation-failed': row(
    -32600,
    417,
    'debug',
    'Only "Expect: 100-continue" is known here.',
    'Look at the client’s request headers.',
  ),
  'headers-too-large': row(
    -32600,
    431,
    'info',
    'The headers of the request are larger than this hub accepts.',
    'Look at the client: it sends more than 16 KiB of headers, often cookies, or more headers than the setting `headers` allows.',
  ),
  'http-malformed': row(
    -32700,
    400,
    'debug',
    'The HTTP request is malformed.',
    'Look at the client, or at what stands between it and the hub.',
  ),
  'method-not-allowed': row(
    -32600,
    405,
    'debug',
    'This HTTP method is not served here.',
    'Use POST for messages; GET needs a session.',
  ),
  'not-found': row(
    -32600,
    404,
    'debug',
    'Nothing is served at this path.',
    'The endpoint is /mcp, /mcp/<group> or /mcp/<server>.',
  ),
  unauthorized: row(
    -32001,
    401,
    'info',
    'A valid key is needed: Authorization: Bearer mcphub_…',
    'Make a key with `mcphub keys create`.',
  ),
  'key-expired': row(-32001, 401, 'info', 'This key has expired.', 'Renew it with `mcphub keys rotate`.'),
  'key-revoked': row(-32001, 401, 'info', 'This key has been revoked.', 'Make a new one with `mcphub keys create`.'),
  forbidden: row(-32003, 200, 'info', 'This key may not do that.', 'The key’s groups or role do not cover it.'),
  'host-refused': row(
    -32003,
    403,
    'warn',
    'This Host header is not allowed (DNS rebinding protection).',
    'Add the name to MCPHUB_ALLOWED_HOSTS.',
  ),
  'origin-refused': row(
    -32003,
    403,
    'warn',
    'This Origin is not allowed.',
    'Add the origin to MCPHUB_ALLOWED_ORIGINS.',
  ),
  'session-unknown': row(
    -32001,
    404,
    'info',
    'Session not found. Start a new one with initialize.',
    'The id was made by another hub’s secret, altered, or ended.',
  ),
  'session-ended': row(
    -32001,
    404,
    'info',
    'Session has ended. Start a new one with initialize.',
    'The client ended this session with DELETE.',
  ),
  // Limits of the hub
  'rate-limited': row(
    -32005,
    429,
    'info',
    'Too many requests.',
    'Per-key or per-address limits: docs/limits.md.',
    RETRY,
  ),
  'key-busy': row(
    -32005,
    429,
    'info',
    'Too many calls at once for this key.',
    'Raise keyInFlight if one key serves many people.',
    RETRY,
  ),
  overloaded: row(-32005, 503, 'warn', 'The hub is at its limit.', 'See /api/ceilings for what is full.', RETRY),
  starting: row(-32005, 503, 'info', 'The hub is starting.', 'Wait a moment.', RETRY),
  draining: row(
    -32005,
    503,
    'info',
    'The hub is shutting down.',
    'Another instance or the next start will answer.',
    RETRY,
  ),
  'control-away': row(
    -32005,
    503,
    'warn',
    'The control process does not answer.',
    'Calls go on; the supervisor restarts control. See the log.',
    RETRY,
  ),
  // The server behind the hub
  'server-starting': row(
    -32010,
    200,
    'info',
    'The server is still starting.',
    'Watch `mcphub servers list`; installing a package can take minutes.',
    RETRY,
  ),
  'server-down': row(
    -32010,
    200,
    'warn',
    'The server is not reachable.',
    'See `mcphub servers list` and `mcphub servers logs`.',
    RETRY,
  ),
  'server-disabled': row(
    -32010,
    200,
    'info',
    'The server is switched off.',
    'Set "enabled": true in the configuration.',
  ),
  'server-key-paused': row(
    -32011,
    200,
    'warn',
    'Calls of this key have ended the process of this server several times within a minute; this key is refused there for a while.',
    'Other keys are served. Look at what the key sends: `mcphub servers logs` has the last lines of the process.',
    RETRY,
  ),
  'server-busy': row(
    -32011,
    200,
    'info',
    'The server has too many calls at once.',
    'Raise serverInFlight for this server if it can take more.',
    RETRY,
  ),
  'breaker-open': row(
    -32011,
    200,
    'info',
    'The circuit breaker of this server is open.',
    'Its last calls failed as if it were gone, and it did not answer a ping, or it asked for a pause: see `mcphub servers list`. It is asked in the background and comes back by itself.',
    RETRY,
  ),
  'upstream-connect': row(
    -32010,
    200,
    'warn',
    'No connection to the server.',
    'Is it running, is the address right, does a proxy stand between?',
    GONE,
  ),
  'upstream-dns': row(
    -32010,
    200,
    'warn',
    'The server’s name cannot be resolved.',
    'Look at the name and at DNS.',
    GONE,
  ),
  'upstream-tls': row(
    -32010,
    200,
    'warn',
    'The TLS connection to the server failed.',
    'Look at its certificate; own authorities go into the file that MCPHUB_CA_FILE names.',
    GONE,
  ),
  'upstream-silent': row(
    -32012,
    200,
    'warn',
    'The server gave no sign of life.',
    'Raise silenceMs of the server or tool if it works without a sign for long.',
    GONE,
  ),
  'upstream-timeout': row(
    -32012,
    200,
    'warn',
    'The call took longer than allowed in total.',
    'Raise totalMs or callTimeoutMs of the server or tool.',
    RETRY,
  ),
  'upstream-gone': row(
    -32010,
    200,
    'warn',
    'The connection to the server broke during the call.',
    'See `mcphub servers logs`.',
    GONE,
  ),
  'upstream-exit': row(
    -32010,
    200,
    'warn',
    'The server’s process ended.',
    'Its last lines are in `mcphub servers logs`.',
    RETRY,
  ),
  'upstream-spawn': row(
    -32010,
    200,
    'error',
    'The server’s process could not be started.',
    'Look at command, PATH and permissions.',
    RETRY,
  ),
  'upstream-protocol': row(
    -32010,
    200,
    'warn',
    'The server’s answer is not valid MCP.',
    'A fault of that server.',
    RETRY,
  ),
  'upstream-invalid': row(
    -32010,
    200,
    'warn',
    'The server’s answer to this call is not a valid JSON-RPC message.',
    'A fault of that server; its other calls are not affected.',
  ),
  'upstream-http': row(
    -32010,
    200,
    'warn',
    'The server answered with an HTTP error.',
    'See the status in the detail.',
    GONE,
  ),
  'upstream-auth': row(
    -32010,
    200,
    'warn',
    'The server refused the hub’s credentials.',
    'Look at the headers configured for it.',
  ),
  'upstream-session': row(
    -32010,
    200,
    'info',
    'The server forgot the session twice in a row.',
    'A fault of that server.',
    RETRY,
  ),
  'upstream-too-large': row(
    -32013,
    200,
    'warn',
    'The server’s answer is larger than allowed.',
    'Raise answerBytes (HTTP) or stdioLineBytes (stdio).',
  ),
  'batch-too-large': row(
    -32013,
    200,
    'info',
    'The answers of this batch are larger than allowed.',
    'Send smaller batches, or raise batchAnswerBytes.',
  ),
  'upstream-stuck': row(
    -32012,
    200,
    'warn',
    'The server does not read what it is sent.',
    'It hangs; the hub restarts it.',
    RETRY,
  ),
  // The hub itself
  'wait-expired': row(-32012, 200, 'warn', 'A wait ended at its deadline.', 'See /api/waits for what is slow.', RETRY),
  'client-silent': row(
    -32000,
    200,
    'info',
    'The client did not answer the question in time.',
    'The user was away; nothing to do.',
  ),
  'client-cannot-be-asked': row(
    -32601,
    200,
    'info',
    'This client cannot be asked: it has no session, or no stream is open to it.',
    'The client must initialize with the capability and accept text/event-stream.',
  ),
  'call-lost': row(
    -32000,
    200,
    'warn',
    'The call was lost with the hub that carried it; whether the tool ran is not known.',
    'The hub was restarted or replaced in mid-call, or the answer came too long ago.',
  ),
  cancelled: row(-32000, 200, 'debug', 'The client cancelled this request.', 'Nothing to do. It gets no answer.'),
  'client-gone': row(-32000, 200, 'debug', 'The client went away.', 'Nothing to do.'),
  'not-served-yet': row(
    -32601,
    200,
    'info',
    'This version does not serve that yet.',
    'See the README for what is there.',
  ),
  'config-invalid': row(-32603, 500, 'error', 'The configuration is not valid.', 'Run `mcphub config validate`.'),
  'store-failed': row(
    -32603,
    500,
    'error',
    'The store could not be read or written.',
    'Look at the disk and at the log.',
    RETRY,
  ),
  internal: row(
    -32603,
    500,
    'error',
    'Something broke inside the hub.',
    'A defect: the log has the cause under the request id.',
  ),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

export function errorRow(code: ErrorCode): ErrorRow {
  return ERRORS[code];
}

const OPERATOR_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'breaker-open',
  'wait-expired',
  'config-invalid',
  'store-failed',
  'internal',
]);

/**
 * Tells whether messages under this code may quote a server, a path or an address, so that only the operator may read
 * them.
 */
export function isOperatorOnly(code: ErrorCode): boolean {
  return code.startsWith('upstream-') || code.startsWith('server-') || OPERATOR_CODES.has(code);
}

/** Returns a short random id (8 hex digits) that names one failure. */
export function newReference(): string {
  return randomUUID().slice(0, 8);
}

/**
 * A fault. `message` is for the operator; `client-error.ts` builds what a client reads. A fault of a server gets a
 * reference.
 */
export class HubError extends Error {
  readonly code: ErrorCode;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, options: { message?: string; detail?: ErrorDetail; cause?: unknown } = {}) {
    super(options.message ?? ERRORS[code].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HubError';
    this.code = code;
    this.detail = code.startsWith('upstream-')
      ? { reference: newReference(), ...options.detail }
      : (options.detail ?? {});
  }
}

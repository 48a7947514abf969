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
    'Correct the client: its JSON-RPC envelope is invalid.',
  ),
  'method-not-found': row(
    -32601,
    200,
    'debug',
    'Unknown method.',
    'The client called a method that the hub does not support.',
  ),
  'request-state-invalid': row(
    -32602,
    200,
    'info',
    'requestState is invalid for this request.',
    'It was changed, has expired, was used already, or belongs to another user or request. The client must send the request again without it.',
  ),
  'method-not-in-era': row(
    -32601,
    404,
    'debug',
    'Unknown method in protocol 2026-07-28.',
    'The client called a method that protocol 2026-07-28 does not define, or that the hub does not support.',
  ),
  'envelope-invalid': row(
    -32602,
    400,
    'debug',
    'params._meta lacks members that protocol 2026-07-28 requires.',
    'Correct the client: each request must carry its protocol version and capabilities.',
  ),
  'header-mismatch': row(
    -32020,
    400,
    'info',
    'The Mcp-* headers do not match the body.',
    'Check the client, or a proxy that drops or changes headers.',
  ),
  'version-unsupported': row(
    -32022,
    400,
    'debug',
    'This protocol version is not supported.',
    'The client requests an unknown protocol version; `data.supported` lists the supported ones.',
  ),
  'capability-missing': row(
    -32021,
    400,
    'debug',
    'The client does not declare a capability that this call needs.',
    'Use a client that supports elicitation, sampling or roots, or call another tool.',
  ),
  'invalid-params': row(
    -32602,
    200,
    'debug',
    'The parameters are invalid for this method.',
    'Correct the client: a parameter is missing or has the wrong type.',
  ),
  'unknown-tool': row(
    -32602,
    200,
    'debug',
    'Unknown tool.',
    'The caller’s group has no tool of this name; list its tools with `mcphub tools list`.',
  ),
  'unknown-prompt': row(
    -32602,
    200,
    'debug',
    'Unknown prompt.',
    'The caller’s group has no prompt of this name; list its prompts with prompts/list.',
  ),
  'resource-not-found': row(
    -32002,
    200,
    'debug',
    'Resource not found.',
    'No server of the caller’s group lists this URI or a template that matches it; see resources/list.',
  ),
  'too-deep': row(
    -32600,
    400,
    'info',
    'The body is nested too deeply.',
    'Raise bodyDepth only if a trusted client needs it.',
  ),
  'body-too-large': row(
    -32600,
    413,
    'info',
    'The request body exceeds the limit.',
    'Raise bodyBytes if the client needs larger requests.',
  ),
  'body-slow': row(-32600, 408, 'info', 'The body did not arrive in time.', 'The client or the network is too slow.'),
  'media-type': row(
    -32600,
    415,
    'debug',
    'Content-Type must be application/json.',
    'Correct the request headers of the client.',
  ),
  'content-coding': row(
    -32600,
    415,
    'debug',
    'Content-Encoding must be identity: compressed request bodies are not supported.',
    'Disable request compression in the client, or in the proxy in front of the hub.',
  ),
  'expectation-failed': row(
    -32600,
    417,
    'debug',
    'Only "Expect: 100-continue" is supported.',
    'Correct the request headers of the client.',
  ),
  'headers-too-large': row(
    -32600,
    431,
    'info',
    'The request headers exceed the limit.',
    'The client sends more than 16 KiB of headers (often cookies), or more headers than the setting `headers` allows.',
  ),
  'http-malformed': row(
    -32700,
    400,
    'debug',
    'The HTTP request is malformed.',
    'Check the client, or the proxy between it and the hub.',
  ),
  'method-not-allowed': row(
    -32600,
    405,
    'debug',
    'This HTTP method is not supported at this path.',
    'Use POST for messages; GET needs a session.',
  ),
  'not-found': row(
    -32600,
    404,
    'debug',
    'There is no resource at this path.',
    'The endpoint is /mcp, /mcp/<group> or /mcp/<server>.',
  ),
  unauthorized: row(
    -32001,
    401,
    'info',
    'A valid key is required: Authorization: Bearer mcphub_…',
    'Create a key with `mcphub keys create`.',
  ),
  'key-expired': row(-32001, 401, 'info', 'This key has expired.', 'Replace it with `mcphub keys rotate`.'),
  'key-revoked': row(-32001, 401, 'info', 'This key has been revoked.', 'Create a new key with `mcphub keys create`.'),
  forbidden: row(
    -32003,
    200,
    'info',
    'This key has no permission for this request.',
    'The groups or the role of the key do not allow it.',
  ),
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
    'The session id was issued under another secret, was changed, or its session has ended.',
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
  overloaded: row(
    -32005,
    503,
    'warn',
    'The hub has reached a limit.',
    'GET /api/ceilings shows which limit is reached.',
    RETRY,
  ),
  starting: row(-32005, 503, 'info', 'The hub is starting.', 'Retry in a few seconds.', RETRY),
  draining: row(
    -32005,
    503,
    'info',
    'The hub is shutting down.',
    'Retry after the restart, or at another instance.',
    RETRY,
  ),
  'control-away': row(
    -32005,
    503,
    'warn',
    'The control process does not answer.',
    'Calls are unaffected; the supervisor restarts the control process. See the log.',
    RETRY,
  ),
  // The server behind the hub
  'server-starting': row(
    -32010,
    200,
    'info',
    'The server is still starting.',
    'Check `mcphub servers list`; installing a package can take minutes.',
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
  'server-disabled': row(-32010, 200, 'info', 'The server is disabled.', 'Set "enabled": true in the configuration.'),
  'server-key-paused': row(
    -32011,
    200,
    'warn',
    'Calls with this key have crashed the server several times within a minute; the server is blocked for this key for a while.',
    'Other keys are unaffected. Check what the key sends; `mcphub servers logs` shows the last output of the process.',
    RETRY,
  ),
  'server-busy': row(
    -32011,
    200,
    'info',
    'The server has too many calls in flight.',
    'Raise serverInFlight of this server if it can handle more.',
    RETRY,
  ),
  'breaker-open': row(
    -32011,
    200,
    'info',
    'The circuit breaker of this server is open.',
    'Recent calls failed and the server did not answer a ping, or it requested a pause; see `mcphub servers list`. ' +
      'The hub probes it in the background and closes the circuit breaker when it answers.',
    RETRY,
  ),
  'upstream-connect': row(
    -32010,
    200,
    'warn',
    'Cannot connect to the server.',
    'Check that the server runs, that its address is correct, and whether a proxy is in between.',
    GONE,
  ),
  'upstream-dns': row(-32010, 200, 'warn', 'The server’s name cannot be resolved.', 'Check the name and DNS.', GONE),
  'upstream-tls': row(
    -32010,
    200,
    'warn',
    'The TLS connection to the server failed.',
    'Check its certificate; add private certificate authorities to the file that MCPHUB_CA_FILE names.',
    GONE,
  ),
  'upstream-silent': row(
    -32012,
    200,
    'warn',
    'The server did not respond.',
    'Raise silenceMs of the server or tool if it works for long without sending progress.',
    GONE,
  ),
  'upstream-timeout': row(
    -32012,
    200,
    'warn',
    'The call exceeded its total time limit.',
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
    'The process of the server exited.',
    '`mcphub servers logs` shows its last output.',
    RETRY,
  ),
  'upstream-spawn': row(
    -32010,
    200,
    'error',
    'The process of the server could not be started.',
    'Check command, PATH and permissions.',
    RETRY,
  ),
  'upstream-protocol': row(
    -32010,
    200,
    'warn',
    'The response of the server is not valid MCP.',
    'A defect of the server.',
    RETRY,
  ),
  'upstream-invalid': row(
    -32010,
    200,
    'warn',
    'The response of the server to this call is not a valid JSON-RPC message.',
    'A defect of the server; its other calls are not affected.',
  ),
  'upstream-http': row(
    -32010,
    200,
    'warn',
    'The server answered with an HTTP error.',
    '`data.status` holds the HTTP status.',
    GONE,
  ),
  'upstream-auth': row(
    -32010,
    200,
    'warn',
    'The server refused the hub’s credentials.',
    'Check the headers configured for the server.',
  ),
  'upstream-session': row(
    -32010,
    200,
    'info',
    'The server lost the session twice in a row.',
    'A defect of the server.',
    RETRY,
  ),
  'upstream-too-large': row(
    -32013,
    200,
    'warn',
    'The response of the server exceeds the limit.',
    'Raise answerBytes (HTTP) or stdioLineBytes (stdio).',
  ),
  'batch-too-large': row(
    -32013,
    200,
    'info',
    'The responses of this batch exceed the limit.',
    'Send smaller batches, or raise batchAnswerBytes.',
  ),
  'upstream-stuck': row(
    -32012,
    200,
    'warn',
    'The server does not read its input.',
    'The server hangs; the hub restarts it.',
    RETRY,
  ),
  // The hub itself
  'wait-expired': row(
    -32012,
    200,
    'warn',
    'An operation of the hub timed out.',
    'GET /api/waits shows what is slow.',
    RETRY,
  ),
  'client-silent': row(
    -32000,
    200,
    'info',
    'The client did not answer the request of the server in time.',
    'The user did not respond; no action is required.',
  ),
  'client-cannot-be-asked': row(
    -32601,
    200,
    'info',
    'The client cannot receive requests: it has no session, or no open stream.',
    'The client must declare the capability in initialize and accept text/event-stream.',
  ),
  'call-lost': row(
    -32000,
    200,
    'warn',
    'The call was lost with its worker; whether the tool ran is unknown.',
    'The worker was restarted or replaced during the call, or its response has expired.',
  ),
  cancelled: row(
    -32000,
    200,
    'debug',
    'The client cancelled this request.',
    'No action is required; the request gets no response.',
  ),
  'client-gone': row(-32000, 200, 'debug', 'The client closed the connection.', 'No action is required.'),
  'not-served-yet': row(
    -32601,
    200,
    'info',
    'This version does not support this method yet.',
    'README.md lists what is supported.',
  ),
  'config-invalid': row(-32603, 500, 'error', 'The configuration is invalid.', 'Run `mcphub config validate`.'),
  'store-failed': row(
    -32603,
    500,
    'error',
    'The store could not be read or written.',
    'Check the disk and the log.',
    RETRY,
  ),
  internal: row(
    -32603,
    500,
    'error',
    'Internal error of the hub.',
    'A defect of the hub; the log holds the cause under the request id.',
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

/**
 * Maps errors of sockets, TLS, DNS and the kernel to the codes of `model/errors.ts`, by error codes and classes, never
 * by messages.
 * Guarantees: the result is a HubError that tells whether the server may have executed the request; the original error
 * is its `cause`.
 */
import { type ErrorCode, type ErrorDetail, HubError } from '../model/errors.ts';
import { type Attempted, connectWords, isNoTls, tlsWords } from './fault-words.ts';

export interface NetFaultContext {
  /** Display name of the server. */
  readonly server: string;
  /** The phase that failed: connect, request, answer … */
  readonly phase: string;
  /** True when bytes of the request may have reached the server. */
  readonly sent: boolean;
  readonly waitedMs?: number;
  /** The target of the connection attempt; absent when the connection existed. */
  readonly attempted?: Attempted;
  /** Method and address of the request, for the operator. */
  readonly asked?: string;
}

const DNS = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EAI_NODATA',
  'EAI_NONAME',
  'ENODATA',
  'ESERVFAIL',
  'EBADNAME',
]); // bounded by: this literal
const CONNECT = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'EADDRNOTAVAIL',
  'EACCES',
  'EPERM',
]); // bounded by: this literal
const TLS = new Set([
  'EPROTO',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_CHAIN_TOO_LONG',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'HOSTNAME_MISMATCH',
]); // bounded by: this literal
const OURS = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']); // bounded by: this literal

const PEER_CLOSED = 'PEER_CLOSED';

/**
 * Returns the error for a connection that the server closed before its response was complete, without a socket error.
 */
export function peerClosed(): Error {
  return Object.assign(new Error('The server closed the connection.'), { code: PEER_CLOSED });
}

/**
 * Returns the code of a Node error; of an AggregateError (happy eyeballs) the code of its last attempt; '' when there
 * is none.
 */
export function faultCode(fault: unknown): string {
  if (fault instanceof AggregateError && fault.errors.length > 0) return faultCode(fault.errors.at(-1));
  const code = typeof fault === 'object' && fault !== null && 'code' in fault ? fault.code : undefined;
  return typeof code === 'string' ? code : '';
}

/**
 * Returns true for errors of a socket that its peer closed: a request on a kept-alive connection may have met a
 * connection that was being closed.
 */
export function isConnectionLoss(fault: unknown): boolean {
  const code = faultCode(fault);
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'ECONNABORTED' || code === PEER_CLOSED;
}

/** Returns true for a handshake that failed because of a certificate or TLS settings: the peer speaks TLS. */
export function isTlsSpoken({ code, detail }: HubError): boolean {
  return code === 'upstream-tls' && !isNoTls(String(detail.reason));
}

/** Returns the HubError for a network error. A HubError keeps its code and gains the context. */
export function hubErrorFromNet(fault: unknown, context: NetFaultContext): HubError {
  const detail: ErrorDetail = {
    server: context.server,
    phase: context.phase,
    outcome: context.sent ? 'unknown' : 'not-executed',
    ...(context.waitedMs === undefined ? {} : { waitedMs: Math.round(context.waitedMs) }),
  };
  if (fault instanceof HubError)
    return new HubError(fault.code, {
      message: fault.message,
      detail: { ...detail, ...fault.detail },
      cause: fault.cause,
    });
  const reason = faultCode(fault);
  const code = codeFor(reason, context.sent);
  const message = messageFor(code, reason, fault, context);
  return new HubError(code, {
    ...(message === undefined ? {} : { message }),
    detail: reason === '' ? detail : { ...detail, reason },
    cause: fault,
  });
}

/** Returns the operator's message, or undefined for the default sentence of the code. */
function messageFor(code: ErrorCode, reason: string, fault: unknown, context: NetFaultContext): string | undefined {
  const { attempted, asked, phase } = context;
  if (attempted === undefined) {
    const isBroken = code === 'upstream-gone' && asked !== undefined && reason !== '';
    return isBroken ? `The connection to the server broke during ${asked} (${reason}).` : undefined;
  }
  if (code === 'upstream-tls') return tlsWords(reason, fault, attempted);
  if (code !== 'upstream-connect') return undefined;
  if (phase === 'tls')
    return `The TLS connection to ${attempted.target} failed: the server closed it during the handshake.`;
  return connectWords(fault, attempted);
}

function codeFor(code: string, sent: boolean): ErrorCode {
  if (DNS.has(code)) return 'upstream-dns';
  if (TLS.has(code) || code.startsWith('ERR_TLS') || code.startsWith('ERR_SSL')) return 'upstream-tls';
  if (CONNECT.has(code)) return 'upstream-connect';
  if (OURS.has(code)) return 'overloaded';
  return sent ? 'upstream-gone' : 'upstream-connect';
}

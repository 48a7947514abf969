/**
 * Tells what a failed call says about its server. Only an unreachable server opens the circuit: a failure that one
 * tool, one user or one answer can cause does not.
 */
import type { Refusal } from '../model/outcome.ts';

/**
 * `gone`: the server is unreachable; `doubtful`: it may be, which a ping will show, because one call can cause a reset
 * or a gateway timeout.
 */
export type FailureSign = 'gone' | 'doubtful' | undefined;

/** `reason` of a call that ended for silence while another call with a longer limit was running. */
export const OTHER_CALL_AT_WORK = 'other-call-at-work';

const GATEWAY: ReadonlySet<unknown> = new Set([502, 503, 504]);
/** Longest pause that a server may ask for, ms. */
const PAUSE_MS = 60_000;

/** Classifies a failure. `silenceMs`: the silence limit of this call; `serverSilenceMs`: that of the server. */
export function failureSign({ code, detail }: Refusal, silenceMs: number, serverSilenceMs: number): FailureSign {
  switch (code) {
    case 'upstream-connect':
    case 'upstream-dns':
    case 'upstream-tls':
      return 'gone';
    case 'upstream-silent':
      // The ping failed too. A shorter limit of a tool, or silence that another call is allowed, says nothing about the
      // server.
      return detail.reason === OTHER_CALL_AT_WORK || silenceMs < serverSilenceMs ? undefined : 'gone';
    case 'upstream-gone':
      return detail.phase === 'answer' ? undefined : 'doubtful';
    case 'upstream-http':
      return isGatewayError(detail) ? 'doubtful' : undefined;
    default:
      return undefined;
  }
}

/** Returns the pause that the server requests (503 with Retry-After) in ms; undefined when it requests none. */
export function pauseAsked({ code, detail }: Refusal): number | undefined {
  const { retryAfterMs = 0, status } = detail;
  const isAsked = code === 'upstream-http' && status === 503 && isGatewayError(detail);
  return isAsked && retryAfterMs > 0 && retryAfterMs <= PAUSE_MS ? retryAfterMs : undefined;
}

/** Tells whether the error is a gateway's: a JSON-RPC error comes from the server itself. */
function isGatewayError({ status, operator }: Refusal['detail']): boolean {
  const body = String(operator?.body ?? '').trimStart();
  return GATEWAY.has(status) && !(body.startsWith('{') && body.includes('"jsonrpc"'));
}

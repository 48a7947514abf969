/**
 * What the failure of a call says about its server. Only a server that is gone opens the circuit: what one tool, one user or one answer can bring
 * about says nothing about it.
 */
import type { Refusal } from '../model/outcome.ts';

/** `gone` = nothing answers there; `doubtful` = perhaps, which a ping will show: one call can reset its connection or run into a gateway's timeout. */
export type FailureSign = 'gone' | 'doubtful' | undefined;

/** `reason` of a call that ended for silence while another one was at work that may be silent for longer. */
export const OTHER_CALL_AT_WORK = 'other-call-at-work';

const GATEWAY: ReadonlySet<unknown> = new Set([502, 503, 504]);
/** Longest pause that a server may ask for, ms. */
const PAUSE_MS = 60_000;

/** `silenceMs` = the longest silence that this call was allowed; `serverSilenceMs` = what the server is allowed. */
export function failureSign({ code, detail }: Refusal, silenceMs: number, serverSilenceMs: number): FailureSign {
  switch (code) {
    case 'upstream-connect':
    case 'upstream-dns':
    case 'upstream-tls':
      return 'gone';
    case 'upstream-silent':
      // The ping went unanswered too. A tool's own shorter limit says nothing about the server, nor does silence that another call is allowed.
      return detail.reason === OTHER_CALL_AT_WORK || silenceMs < serverSilenceMs ? undefined : 'gone';
    case 'upstream-gone':
      return detail.phase === 'answer' ? undefined : 'doubtful';
    case 'upstream-http':
      return isGatewayError(detail) ? 'doubtful' : undefined;
    default:
      return undefined;
  }
}

/** Returns for how long the server asks to be left alone (503 with Retry-After), ms; undefined = it does not. */
export function pauseAsked({ code, detail }: Refusal): number | undefined {
  const { retryAfterMs = 0, status } = detail;
  const isAsked = code === 'upstream-http' && status === 503 && isGatewayError(detail);
  return isAsked && retryAfterMs > 0 && retryAfterMs <= PAUSE_MS ? retryAfterMs : undefined;
}

/** A JSON-RPC error comes from the server itself. */
function isGatewayError({ status, operator }: Refusal['detail']): boolean {
  const body = String(operator?.body ?? '').trimStart();
  return GATEWAY.has(status) && !(body.startsWith('{') && body.includes('"jsonrpc"'));
}

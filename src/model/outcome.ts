/**
 * Refusals as values. An expected "no" (bad key, full queue, unknown tool) is returned, not thrown: 0.14 µs against 7.6 µs,
 * and shedding must be cheaper than serving. Faults (a broken promise of ours or of the outside) throw `HubError`.
 */
import { type ErrorCode, type ErrorDetail, errorRow } from './errors.ts';

/** An expected no. `code` leads to status, JSON-RPC code and hint in the errors table; `client-error.ts` builds what a client reads of it. */
export class Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: ErrorDetail;

  constructor(code: ErrorCode, message?: string, detail: ErrorDetail = {}) {
    this.code = code;
    this.message = message ?? errorRow(code).message;
    this.detail = detail;
  }
}

export type Outcome<T> = T | Refusal;

export function isRefusal<T>(outcome: Outcome<T>): outcome is Refusal {
  return outcome instanceof Refusal;
}

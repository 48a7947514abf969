/**
 * Refusals as values. An expected rejection (invalid key, full queue, unknown tool) is returned, not thrown: 0.14 µs
 * against 7.6 µs, because load shedding must cost less than serving. Faults throw `HubError`.
 */
import { type ErrorCode, type ErrorDetail, errorRow } from './errors.ts';

/**
 * An expected rejection. `code` leads to status, JSON-RPC code and hint in the table of errors; `client-error.ts`
 * builds what a client reads of it.
 */
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

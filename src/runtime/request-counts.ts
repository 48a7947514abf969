/**
 * Counts the HTTP requests of a listener and their responses by class of status code (RFC 9110 §15).
 * Guarantees: requests = responses + aborted + those in progress; numbers only, so that a count costs an addition.
 */

/** The counts since the start of a process, as they are reported. */
export interface RequestTotals {
  /** Handed to a handler. */
  readonly requests: number;
  /** Responses that have ended, by the first digit of their status. */
  readonly '2xx': number;
  readonly '3xx': number;
  readonly '4xx': number;
  readonly '5xx': number;
  /** Closed before a response was begun. */
  readonly aborted: number;
  /** Connections that got 400, 408, 431 or 503 in place of a request's response. */
  readonly rejected: number;
}

export class RequestCounts {
  requests = 0;
  rejected = 0;
  #success = 0;
  #redirect = 0;
  #clientError = 0;
  #serverError = 0;
  #aborted = 0;

  /** Counts a response that has closed; `status` is undefined when none was begun. */
  closed(status: number | undefined): void {
    if (status === undefined) this.#aborted += 1;
    else if (status < 300) this.#success += 1;
    else if (status < 400) this.#redirect += 1;
    else if (status < 500) this.#clientError += 1;
    else this.#serverError += 1;
  }

  totals(): RequestTotals {
    return {
      requests: this.requests,
      '2xx': this.#success,
      '3xx': this.#redirect,
      '4xx': this.#clientError,
      '5xx': this.#serverError,
      aborted: this.#aborted,
      rejected: this.rejected,
    };
  }
}

/** Returns the sum of the counts of several processes. */
export function sumOfRequests(all: readonly RequestTotals[]): RequestTotals {
  const sum: Record<keyof RequestTotals, number> = { ...new RequestCounts().totals() };
  for (const one of all) for (const name of NAMES) sum[name] += one[name];
  return sum;
}

const NAMES = ['requests', '2xx', '3xx', '4xx', '5xx', 'aborted', 'rejected'] as const;

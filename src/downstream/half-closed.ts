/**
 * Clients that have closed their half of a connection (FIN) while a response is open: they may wait (RFC 9112, section
 * 9.6) or have exited. A write shows which: the kernel answers it with a reset, and the next write fails.
 * Guarantees: a waiting client gets the response; an exited one is noticed at once on this machine, else within
 * `halfClosedMs` (an eighth of that for HTTP/1.0, to which nothing can be written before the response).
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { takesComment } from './connection.ts';
import { guardCallback } from './guarded-http.ts';

/** Parts of `halfClosedMs` after which something is written. */
const PROBES: readonly number[] = [0, 1 / 8, 1];
/** A comment without an event: readers of event streams skip the line. */
const COMMENT = ':\n';

export interface HalfClosedParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'halfClosedMs'>;
  /** Returns the open response of a connection. */
  readonly openOf: (socket: Socket) => ServerResponse | undefined;
}

/** Returns the function to call when a client has closed its half. */
export function watchHalfClosed({ runtime, limits, openOf }: HalfClosedParts): (socket: Socket) => void {
  return (socket) => {
    const endedMs = runtime.clock.nowMs();
    function probe(step: number): void {
      const response = openOf(socket);
      if (response === undefined || socket.destroyed) return;
      if (canAnswer(response)) write(response);
      else if (step > 0) return void socket.destroy();
      // On loopback the reset has arrived when the first write returns: many calls of exited clients are cancelled
      // together.
      if (step === 0 && canAnswer(response)) write(response);
      const part = PROBES[step + 1];
      if (part === undefined) return;
      runtime.wheel.add(
        endedMs + limits.halfClosedMs * part,
        guardCallback(runtime, socket, () => probe(step + 1)),
      );
    }
    probe(0);
  };
}

/**
 * Returns false for a client of HTTP/1.0 whose response has not begun: it knows no interim responses (RFC 9110, section
 * 15.2).
 */
function canAnswer({ req, headersSent }: ServerResponse): boolean {
  return headersSent || req.httpVersion !== '1.0';
}

function write(response: ServerResponse): void {
  if (takesComment(response)) response.write(COMMENT);
  else if (!response.headersSent) response.writeContinue();
  // Otherwise a whole answer is being sent, whose bytes have the same effect.
}

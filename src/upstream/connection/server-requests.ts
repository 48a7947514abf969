/**
 * Requests of a server on one connection: answered here, or passed on to be put to the user. Those above the rate are
 * dropped.
 */

import type { Envelope } from '../../protocol/message.ts';
import { errorFrame, resultFrame } from '../../protocol/write.ts';
import { TokenBucket } from '../../resilience/token-bucket.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientSide } from './client-side.ts';
import type { Correlator } from './correlator.ts';
import type { InvalidMessages } from './invalid-messages.ts';

export interface ServerRequestsParts {
  readonly runtime: Runtime;
  readonly invalid: InvalidMessages;
  /** Longest id of a request, bytes. */
  readonly idBytes: number;
  readonly clientSide: Pick<ClientSide, 'question'>;
  readonly correlator: Pick<Correlator, 'aside'>;
}

const PER_SECOND = 50;
const QUOTE = 0x22;

export class ServerRequests {
  readonly #parts: ServerRequestsParts;
  readonly #rate: TokenBucket;

  constructor(parts: ServerRequestsParts) {
    this.#parts = parts;
    const nowMs = parts.runtime.clock.nowMs();
    this.#rate = new TokenBucket({ perSecond: PER_SECOND, burst: PER_SECOND, nowMs });
  }

  /** Returns false when the request was dropped, or cannot be read. */
  take(envelope: Envelope, exchange: number | undefined): boolean {
    const { runtime, invalid, idBytes, clientSide, correlator } = this.#parts;
    const { bytes, id, method, fault } = envelope;
    if (!this.#rate.take(runtime.clock.nowMs())) return false;
    const idRaw = bytes.subarray(id.at, id.end);
    if (fault !== undefined) {
      invalid.count('refused', fault);
      // An id that is a string may be what is invalid.
      if (bytes[id.at] !== QUOTE)
        correlator.aside(errorFrame(idRaw, { code: -32700, message: `The request is not valid JSON: ${fault}.` }));
      return false;
    }
    if (idRaw.length > idBytes) {
      invalid.count('refused', `the id of a request has ${idRaw.length} bytes`);
      correlator.aside(
        errorFrame(idRaw, { code: -32600, message: `The id of the request is longer than ${idBytes} bytes.` }),
      );
    } else if (method === 'ping') correlator.aside(resultFrame(idRaw, Buffer.from('{}')));
    else if (!clientSide.question(envelope, exchange))
      correlator.aside(
        errorFrame(idRaw, { code: -32601, message: `Not served on a shared connection: ${method.slice(0, 60)}` }),
      );
    return true;
  }
}

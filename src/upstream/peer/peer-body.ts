/**
 * Reads the body of another worker's request.
 * Guarantees: holds at most what a client may send plus the envelope; ends at `bodyMs`, also when nothing arrives.
 */
import type { IncomingMessage } from 'node:http';
import type { Limits } from '../../config/limits.ts';
import { type Outcome, Refusal } from '../../model/outcome.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/** Room for the envelope and a longer tool name around a client's params. */
const ENVELOPE_BYTES = 64 * 1024;

export async function readPeerBody(
  request: IncomingMessage,
  runtime: Runtime,
  limits: Limits,
): Promise<Outcome<Buffer>> {
  using deadline = runtime.deadline(limits.bodyMs);
  const path = (request.url ?? '').replace(/\?.*$/s, '');
  const wait = runtime.waits.open('body', `peer ${path}`.slice(0, 80), deadline);
  try {
    return await new Promise<Outcome<Buffer>>((resolve) => {
      const pieces: Buffer[] = []; // bounded by: bodyBytes
      let bytes = 0;
      request.on('data', (piece: Buffer) => {
        bytes += piece.length;
        if (bytes > limits.bodyBytes + ENVELOPE_BYTES) resolve(new Refusal('body-too-large'));
        else pieces.push(piece);
      });
      request.on('end', () => resolve(Buffer.concat(pieces, bytes)));
      // The worker disconnected half-way; the answer is not read.
      request.on('close', () => resolve(new Refusal('body-slow')));
      request.on('error', () => resolve(new Refusal('body-slow')));
      deadline.onEnd(() => resolve(new Refusal('body-slow')));
    });
  } finally {
    wait.leave();
    request.removeAllListeners('data');
    request.resume();
  }
}

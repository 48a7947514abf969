/**
 * A reader of an answer that is complete and not taken: cut when nothing of it leaves for `streamSlowMs`, noticed within twice that.
 * Promises: who takes it slowly gets all of it (the runtime looks whether the socket's queue has become shorter); after the last byte the
 * connection has its usual limit again; a cut is a fact.
 * Does not: watch streams that are still written to (`streams.ts`).
 */
import type { ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';

export interface SlowReaderParts {
  readonly kernel: Kernel;
  readonly limits: Pick<Limits, 'streamSlowMs'>;
}

/** Called when the answer's last bytes have been handed over. */
export function cutWhenSlow(response: ServerResponse, { kernel, limits }: SlowReaderParts): void {
  if (response.destroyed || response.writableFinished || response.writableLength === 0) return;
  // The runtime's timer notes the queue's length when it fires first, and fires for good when that is the same the next time. Not sooner: the
  // kernel takes more only when a third of its own buffer, megabytes perhaps, is free, which takes a slow reader seconds.
  response.setTimeout(limits.streamSlowMs, () => {
    kernel.bus.publish({ type: 'reader-cut', bytes: response.writableLength });
    response.destroy();
  });
}

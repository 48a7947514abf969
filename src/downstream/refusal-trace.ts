/**
 * Records refused requests for the operator: a count for each code, and log lines with client, path and reason.
 * Guarantees: every refusal is counted; lines are limited for each address (IPv6: each /64 network) and in all, and
 * omitted ones are counted in the next line; texts of a client are cut and escaped, paths have no query.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../config/limits.ts';
import type { ErrorCode } from '../model/errors.ts';
import type { Refusal } from '../model/outcome.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';
import { CappedMap } from '../runtime/capped.ts';
import { NetworkMap } from '../runtime/network-map.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { clientAddress } from './client-address.ts';

/** Addresses with a limit of their own; the oldest is dropped, and the limit for all lines still applies. */
const ADDRESSES = 4096;
/** Interval at which counts without a line are published, ms. */
const SWEEP_MS = 1000;
const MAX_CHARS = 200;
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

export interface RefusalTraces {
  /** Records that the request of this response is refused. */
  refused(response: ServerResponse, refusal: Refusal): void;
  /** Records the refusal of a request that Node could not read. */
  unreadable(address: string, refusal: Refusal): void;
}

interface About {
  readonly method: string;
  readonly path: string;
  readonly client: string;
}

const UNREAD: About = { method: '', path: '', client: '' };

export function createRefusalTraces({ runtime, limits }: { runtime: Runtime; limits: Limits }): RefusalTraces {
  const buckets = new NetworkMap<TokenBucket>(
    new CappedMap('downstream.refusal-traces', ADDRESSES, 'drop-oldest', runtime.ceilings),
    () => bucketOf(limits.refusalLinesPerAddress),
  );
  const all = bucketOf(limits.refusalLinesPerMinute);
  /** Refusals that no published event has counted yet. */
  const uncounted = new Map<ErrorCode, number>(); // bounded by: the error codes

  function bucketOf(perMinute: number): TokenBucket {
    return new TokenBucket({ perSecond: perMinute / 60, burst: perMinute, nowMs: runtime.clock.nowMs() });
  }

  function mayWrite(address: string): boolean {
    const nowMs = runtime.clock.nowMs();
    const { refusalLinesPerAddress, refusalLinesPerMinute } = limits;
    const own = buckets.of(address);
    own.setRate(refusalLinesPerAddress / 60, refusalLinesPerAddress);
    all.setRate(refusalLinesPerMinute / 60, refusalLinesPerMinute);
    return own.take(nowMs) && all.take(nowMs);
  }

  function record(address: string, refusal: Refusal, request: IncomingMessage | undefined): void {
    const { code } = refusal;
    const times = (uncounted.get(code) ?? 0) + 1;
    if (!mayWrite(address)) {
      uncounted.set(code, times);
      return;
    }
    uncounted.delete(code);
    const { server } = refusal.detail;
    runtime.bus.publish({
      type: 'request-refused',
      code,
      times,
      address,
      message: escaped(refusal.message),
      ...(server === undefined ? {} : { server }),
      ...(request === undefined ? UNREAD : aboutOf(request)),
    });
  }

  runtime.timers.every(SWEEP_MS, () => {
    for (const [code, times] of uncounted)
      runtime.bus.publish({ type: 'request-refused', code, times, address: '', message: '', ...UNREAD });
    uncounted.clear();
  });

  return {
    refused: ({ req: request }, refusal) => record(clientAddress(request), refusal, request),
    unreadable: (address, refusal) => record(address, refusal, undefined),
  };
}

function aboutOf({ method = '', url = '', headers }: IncomingMessage): About {
  return { method, path: escaped(url.split('?', 1)[0] ?? ''), client: escaped(headers['user-agent'] ?? '') };
}

/** Returns at most `MAX_CHARS` characters, without control and format characters. */
function escaped(text: string): string {
  const shown = text.slice(0, MAX_CHARS).replace(UNSAFE, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
  return shown.length > MAX_CHARS ? `${shown.slice(0, MAX_CHARS - 1)}…` : shown;
}

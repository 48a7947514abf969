/** The times of calls. */
import type { Limits } from '../config/limits.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { ResolvedTimes } from './call.ts';

/**
 * Returns the times of a call: the tool's, else the server's, else the hub's. `native` is undefined for other methods.
 */
export function resolvedTimes(spec: ServerSpec | undefined, native: string | undefined, limits: Limits): ResolvedTimes {
  const tool = spec && native !== undefined && Object.hasOwn(spec.tools, native) ? spec.tools[native] : undefined;
  return {
    silenceMs: tool?.silenceMs ?? spec?.times.silenceMs ?? limits.silenceMs,
    totalMs: tool?.totalMs ?? spec?.times.totalMs ?? limits.totalMs,
    callTimeoutMs: tool?.callTimeoutMs ?? spec?.times.callTimeoutMs,
  };
}

/** Starts the time of a call with the limits that the configuration sets for it. */
import type { Limits } from '../config/limits.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import { CallBudget } from '../runtime/call-budget.ts';
import type { Runtime } from '../runtime/runtime.ts';

/**
 * Returns the budget of a call that begins now: each figure is the tool's, else the server's, else the hub's. `tool`:
 * its native name; undefined for other methods. `spec` is undefined for a server that does not exist.
 */
export function startBudget(
  spec: ServerSpec | undefined,
  tool: string | undefined,
  { runtime, limits }: { readonly runtime: Pick<Runtime, 'deadline'>; readonly limits: Limits },
): CallBudget {
  const own = spec && tool !== undefined && Object.hasOwn(spec.tools, tool) ? spec.tools[tool] : undefined;
  const totalMs = own?.totalMs ?? spec?.times.totalMs ?? limits.totalMs;
  return new CallBudget(runtime.deadline(totalMs), 'totalMs', {
    silenceMs: own?.silenceMs ?? spec?.times.silenceMs ?? limits.silenceMs,
    questionMs: limits.questionMs,
    callTimeoutMs: own?.callTimeoutMs ?? spec?.times.callTimeoutMs,
  });
}

/**
 * Timeouts and other figures of one server or tool. Pure.
 * Guarantees: ranges are those of the limits table; a missing figure stays undefined, so that the hub's value applies.
 */
import type { CallTimes, ToolSetting } from '../model/snapshot.ts';
import { LIMITS } from './limits.ts';
import type { ConfigPath } from './locate.ts';
import type { Problems } from './problems.ts';
import { parseQuantity, type QuantityRule } from './quantity.ts';
import type { RawTool } from './schema.ts';

const CALL_TIMEOUT: QuantityRule = { unit: 'ms', min: LIMITS.silenceMs.min, max: LIMITS.totalMs.max };

type Figure = number | string | undefined;

export function readFigure(
  given: Figure,
  path: ConfigPath,
  { rule, problems }: { rule: QuantityRule; problems: Problems },
): number | undefined {
  if (given === undefined) return undefined;
  const parsed = parseQuantity(given, rule);
  if (parsed.ok) return parsed.value;
  problems.error(path, `is ${JSON.stringify(given).slice(0, 60)}`, parsed.expected);
  return undefined;
}

export function readCallTimes(
  raw: { silenceMs?: Figure; totalMs?: Figure; callTimeoutMs?: Figure },
  path: ConfigPath,
  problems: Problems,
): CallTimes {
  return {
    silenceMs: readFigure(raw.silenceMs, [...path, 'silenceMs'], { rule: LIMITS.silenceMs, problems }),
    totalMs: readFigure(raw.totalMs, [...path, 'totalMs'], { rule: LIMITS.totalMs, problems }),
    callTimeoutMs: readFigure(raw.callTimeoutMs, [...path, 'callTimeoutMs'], { rule: CALL_TIMEOUT, problems }),
  };
}

export function readTools(
  raw: Readonly<Record<string, RawTool>> | undefined,
  path: ConfigPath,
  problems: Problems,
): Readonly<Record<string, ToolSetting>> {
  const tools: Record<string, ToolSetting> = {};
  for (const [native, tool] of Object.entries(raw ?? {})) {
    const place = [...path, native];
    if (tool.description !== undefined)
      problems.warning([...place, 'description'], 'has no effect here', undefined, 'key');
    tools[native] = { enabled: tool.enabled ?? true, ...readCallTimes(tool, place, problems) };
  }
  return tools;
}

/**
 * The levels of notifications/message, most verbose first, and whether a line passes one.
 * Source: specification 2025-11-25, logging (RFC 5424 severities).
 */
import { memberSpan, stringAt } from './scan.ts';

export const LOG_LEVELS: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

/** The level for clients that never set one. */
const UNSET = 'info';

/**
 * Returns whether a notifications/message passes the wanted level. `params` is complete JSON text; a message without a
 * known level passes.
 */
export function passesLevel(params: Buffer, wanted: string | undefined): boolean {
  const level = stringAt(params, memberSpan(params, { at: 0, end: params.length }, 'level'), 40);
  const rank = level === undefined ? -1 : LOG_LEVELS.indexOf(level);
  return rank < 0 || rank >= LOG_LEVELS.indexOf(wanted ?? UNSET);
}

/**
 * The one place where texts of outside origin are made fit for a log: keys and tokens masked, length cut.
 * Promises: never throws, whatever the value is; linear in the text; the result is at most MAX_TEXT long.
 * Does not: escape control characters; JSON does, and `log.ts` does for people.
 */
const MAX_TEXT = 4096;
/** Cut before masking so that the patterns never see more. */
const MAX_RAW = 16 * 1024;

const KEY = /mcphub_[0-9a-f]{8,}/gi;
const CREDENTIAL = /\b(bearer|basic)\s+[\w+/=.~-]{6,}/gi;

/** A text without keys and tokens, at most 4096 long. */
export function masked(text: string): string {
  const clean = text.slice(0, MAX_RAW).replace(KEY, 'mcphub_***').replace(CREDENTIAL, '$1 ***');
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}…` : clean;
}

export interface FaultText {
  readonly type: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
}

/** What may be written of a fault of any kind. */
export function faultText(fault: unknown): FaultText {
  try {
    if (!(fault instanceof Error)) return { type: typeof fault, message: masked(String(fault)) };
    const { code } = fault as { code?: unknown };
    return {
      type: fault.name,
      message: masked(fault.message),
      ...(typeof fault.stack === 'string' ? { stack: masked(fault.stack) } : {}),
      ...(typeof code === 'string' ? { code: masked(code) } : {}),
    };
  } catch {
    return { type: 'unknown', message: 'a fault that cannot be read' };
  }
}

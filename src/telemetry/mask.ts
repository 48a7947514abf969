/**
 * Prepares external texts for the log: masks keys and tokens, limits the length. Control characters are handled by
 * `visible` for people (`terminal-line.ts`, `last-events.ts`) and by `printableJson` for JSON lines.
 * Guarantees: never throws for any value; linear time; the result is at most MAX_TEXT long.
 */
const MAX_TEXT = 4096;
/** Texts are cut to this length before masking, which limits the time of the patterns. */
const MAX_RAW = 16 * 1024;
const MAX_CAUSES = 3;
const MAX_STACK = 1500;

const KEY = /mcphub_[0-9a-f]{8,}/gi;
const CREDENTIAL = /\b(bearer|basic)\s+[\w+/=.~-]{6,}/gi;

/** Returns a text without keys and tokens, at most 4096 characters long. */
export function masked(text: string): string {
  const clean = text.slice(0, MAX_RAW).replace(KEY, 'mcphub_***').replace(CREDENTIAL, '$1 ***');
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}…` : clean;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
/** `JSON.stringify` escapes only those below U+0020. */
const UNSAFE_IN_JSON = /[\u007f-\u009f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Replaces control characters by visible text, so that no server can move the cursor or forge a line. */
export function visible(text: string): string {
  return text.replace(CONTROL, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/**
 * Returns JSON text for a terminal: the same value, with escapes for characters that JSON allows but terminals
 * interpret.
 */
export function printableJson(json: string): string {
  return json.replace(UNSAFE_IN_JSON, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export interface FaultText {
  readonly type: string;
  readonly message: string;
  /** Includes the stacks of its causes. */
  readonly stack?: string;
  readonly code?: string;
}

/** Returns the loggable text of any thrown value. */
export function faultText(fault: unknown): FaultText {
  try {
    if (!(fault instanceof Error)) return { type: typeof fault, message: masked(String(fault)) };
    const { code } = fault as { code?: unknown };
    return {
      type: fault.name,
      message: masked(fault.message),
      stack: masked(stackOf(fault)),
      ...(typeof code === 'string' ? { code: masked(code) } : {}),
    };
  } catch {
    return { type: 'unknown', message: 'an unreadable error' };
  }
}

function stackOf(fault: Error): string {
  const stacks: string[] = [];
  for (let one: unknown = fault; one instanceof Error && stacks.length < MAX_CAUSES; one = one.cause)
    stacks.push(one.stack?.slice(0, MAX_STACK) ?? one.message);
  return stacks.join('\ncaused by: ');
}

/**
 * The one place where texts of outside origin are made fit for a log: keys and tokens masked, length cut.
 * Promises: never throws, whatever the value is; linear in the text; the result is at most MAX_TEXT long.
 * Does not: know which lines are for people; `terminal-line.ts` and `last-events.ts` make theirs `visible`, lines of JSON are made `printableJson`.
 */
const MAX_TEXT = 4096;
/** Cut before masking so that the patterns never see more. */
const MAX_RAW = 16 * 1024;
const MAX_CAUSES = 3;
const MAX_STACK = 1500;

const KEY = /mcphub_[0-9a-f]{8,}/gi;
const CREDENTIAL = /\b(bearer|basic)\s+[\w+/=.~-]{6,}/gi;

/** A text without keys and tokens, at most 4096 long. */
export function masked(text: string): string {
  const clean = text.slice(0, MAX_RAW).replace(KEY, 'mcphub_***').replace(CREDENTIAL, '$1 ***');
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}…` : clean;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
/** `JSON.stringify` escapes those below U+0020 only. */
const UNSAFE_IN_JSON = /[\u007f-\u009f\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Control characters as text, so that no server can move a cursor or forge a line. */
export function visible(text: string): string {
  return text.replace(CONTROL, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** JSON text for a terminal or a log that is read at one: the same value, with escapes for the characters that JSON allows and a terminal obeys. */
export function printableJson(json: string): string {
  return json.replace(UNSAFE_IN_JSON, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

export interface FaultText {
  readonly type: string;
  readonly message: string;
  /** With those of its causes. */
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
      stack: masked(stackOf(fault)),
      ...(typeof code === 'string' ? { code: masked(code) } : {}),
    };
  } catch {
    return { type: 'unknown', message: 'a fault that cannot be read' };
  }
}

function stackOf(fault: Error): string {
  const stacks: string[] = [];
  for (let one: unknown = fault; one instanceof Error && stacks.length < MAX_CAUSES; one = one.cause)
    stacks.push(one.stack?.slice(0, MAX_STACK) ?? one.message);
  return stacks.join('\ncaused by: ');
}

/**
 * The error by which a server of the stateless era reports a capability that its client must declare (−32021).
 * Guarantees: only an error that lists the capabilities, as the specification requires, is recognised.
 * Source: specification 2026-07-28, error codes.
 */
import { declaredBits } from '../era-2025/initialize.ts';
import { memberSpan, stringAt } from '../scan.ts';

export interface MissingCapability {
  readonly message: string;
  /** Bits of `CAPABILITY`; 0 when the hub does not know the capability. */
  readonly bits: number;
  /** The capabilities object as the server sent it. */
  readonly required: object;
}

const CODE = '-32021';
const OPEN_OBJECT = 0x7b;
const MESSAGE_BYTES = 1000;
const REQUIRED_BYTES = 8192;

/** Reads an error object from `json`. Returns undefined when it is a different error. */
export function missingCapability(json: Buffer): MissingCapability | undefined {
  if (!json.includes(CODE)) return undefined;
  const whole = { at: 0, end: json.length };
  const code = memberSpan(json, whole, 'code');
  if (code.at < 0 || json.toString('latin1', code.at, code.end).trim() !== CODE) return undefined;
  const span = memberSpan(json, memberSpan(json, whole, 'data'), 'requiredCapabilities');
  if (span.at < 0 || json[span.at] !== OPEN_OBJECT || span.end - span.at > REQUIRED_BYTES) return undefined;
  return {
    message: stringAt(json, memberSpan(json, whole, 'message'), MESSAGE_BYTES) ?? '',
    bits: declaredBits(json, span),
    required: JSON.parse(json.toString('utf8', span.at, span.end)) as object,
  };
}

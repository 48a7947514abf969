/**
 * Masks configured secrets in an event, before any of it is shortened, logged, kept or sent on.
 * Guarantees: identifiers and the hub's own words are not changed, so that no secret can change the meaning of an
 * event.
 */
import type { HubEvent } from './events.ts';
import type { SecretMask } from './secret-mask.ts';

/**
 * There is one for each call, and it contains no text of the server when the call succeeded; the log masks names chosen
 * by clients.
 */
const UNMASKED: ReadonlySet<HubEvent['type']> = new Set<HubEvent['type']>([
  'call-answered',
  'memory-measured',
  'key-accepted',
]);
/** Members that hold identifiers and words of the hub. */
const WORDS: ReadonlySet<string> = new Set([
  ...['type', 'server', 'code', 'method', 'phase', 'role', 'level', 'requestId', 'session', 'outcome', 'source'],
  ...['reference', 'signal', 'label'],
]);
const CAUSES = 3;
/** Depth down to which objects are searched. */
const DEEP = 4;

/** Returns the event with secrets masked; the same object when there were none. */
export function maskedEvent(fact: HubEvent, secrets: SecretMask): HubEvent {
  if (UNMASKED.has(fact.type) && !quotes(fact)) return fact;
  return maskedMembers(fact, secrets, DEEP) as HubEvent;
}

/** Tells whether the event may quote its server: a refused call contains the reason. */
function quotes(fact: HubEvent): boolean {
  return fact.type === 'call-answered' && fact.why !== undefined;
}

function maskedMembers(object: object, secrets: SecretMask, depth: number): object {
  let copy: Record<string, unknown> | undefined;
  for (const [member, value] of Object.entries(object)) {
    if (WORDS.has(member)) continue;
    const shown = maskedValue(value, secrets, depth);
    if (shown === value) continue;
    copy ??= { ...object };
    copy[member] = shown;
  }
  return copy ?? object;
}

function maskedValue(value: unknown, secrets: SecretMask, depth: number): unknown {
  if (typeof value === 'string') return secrets.mask(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return maskedError(value, secrets, CAUSES);
  // Values that are not searched are not shown.
  if (depth === 0) return undefined;
  if (!Array.isArray(value)) return maskedMembers(value, secrets, depth - 1);
  const shown = value.map((one) => maskedValue(one, secrets, depth - 1));
  return shown.some((one, at) => one !== value[at]) ? shown : value;
}

/** Returns an error of the same name and code whose message, stack and causes hold no secret. */
function maskedError(fault: Error, secrets: SecretMask, depth: number): Error {
  const { cause, stack = '' } = fault;
  const [message, shownStack] = [secrets.mask(fault.message), secrets.mask(stack)];
  const shownCause = cause instanceof Error && depth > 0 ? maskedError(cause, secrets, depth - 1) : undefined;
  if (message === fault.message && shownStack === stack && shownCause === cause) return fault;
  const shown = new Error(message, shownCause === undefined ? undefined : { cause: shownCause });
  const code = 'code' in fault ? { code: fault.code } : {};
  return Object.assign(shown, { name: fault.name, stack: shownStack, ...code });
}

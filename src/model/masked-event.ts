/**
 * A fact without configured secrets, before anything of it is cut, logged, kept or sent on.
 * Does not touch identifiers and words of the hub, so that no secret can change what a fact means.
 */
import type { HubEvent } from './events.ts';
import type { SecretMask } from './secret-mask.ts';

/** One a call, and no text of a server is in them when it went well; the log masks names that a client chose. */
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
/** Objects within objects that are looked into. */
const DEEP = 4;

/** Returns the same fact when nothing had to be masked. */
export function maskedEvent(fact: HubEvent, secrets: SecretMask): HubEvent {
  if (UNMASKED.has(fact.type) && !quotes(fact)) return fact;
  return maskedMembers(fact, secrets, DEEP) as HubEvent;
}

/** A call that was refused says why, and may quote its server. */
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
  // What nobody has looked into is not shown.
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

/**
 * Builds the error of a call whose answer is invalid. It does not count against the server's health: the server
 * answers.
 */
import { HubError } from '../../model/errors.ts';
import type { Refusal } from '../../model/outcome.ts';
import { sentence } from '../../model/sentence.ts';
import { jsonFault } from '../../protocol/broken-message.ts';
import type { Envelope } from '../../protocol/message.ts';

/** Returns the error for a message that the scanner refused; one above a limit names its setting. */
export function refusedAnswer(server: string, { code, message, detail }: Refusal): HubError {
  if (code !== 'upstream-too-large') return invalidAnswer(server, message, undefined, detail.setting);
  const setting = detail.setting ?? 'answerBytes';
  return new HubError(code, { message, detail: { server, phase: 'answer', setting, outcome: 'unknown' } });
}

/** Returns the error for a reply whose members can be read; `why` as in `replyFault`. */
export function unusableAnswer(server: string, why: string, { faultSetting }: Envelope): HubError {
  return invalidAnswer(server, why, undefined, faultSetting);
}

/**
 * Returns the error for a text that should have been an answer. The operator gets its beginning and the reason.
 * `about`: more details, after a comma.
 */
export function brokenFault(server: string, why: Refusal, text: Buffer, about = ''): HubError {
  if (why.code !== 'parse-error') return refusedAnswer(server, why);
  return invalidAnswer(server, `${quoted(jsonFault(text))}${about}`, quoted(text.toString('utf8', 0, QUOTE_BYTES)));
}

/** Returns the error for a request whose answer names no request; its text may be for another caller. */
export function unownedFault(server: string): HubError {
  return invalidAnswer(server, 'it names no request');
}

/** Returns the error for a line in which two answers are mixed. */
export function mixedFault(server: string, text: Buffer): HubError {
  const why = 'two answers are mixed in one line; the setting "inFlight": 1 of the server prevents that';
  return invalidAnswer(server, why, quoted(text.toString('utf8', 0, QUOTE_BYTES)), 'inFlight');
}

const QUOTE_BYTES = 200;

/** Returns the text on one line, without control characters. */
function quoted(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * `why`: a sentence, with or without its full stop; `body`: the received text, for the operator; `setting`: what allows
 * or prevents it.
 */
function invalidAnswer(server: string, why: string, body?: string, setting?: string): HubError {
  // Without a stack trace, which costs 6 µs: a server may send thousands of such answers.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const fault = new HubError('upstream-invalid', {
    message: `The answer of ${server} is not a valid JSON-RPC message: ${sentence(why)}`,
    detail: {
      server,
      phase: 'answer',
      outcome: 'unknown',
      ...(setting === undefined ? {} : { setting }),
      ...(body === undefined ? {} : { operator: { body } }),
    },
  });
  Error.stackTraceLimit = stackTraceLimit;
  return fault;
}

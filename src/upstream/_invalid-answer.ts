/** The error of a call whose answer has come and cannot be understood. It says nothing about the server's health: the server answers. */
import { HubError } from '../kernel/errors.ts';
import type { Refusal } from '../kernel/outcome.ts';

/** The same for a message that the scanner refused; one above a limit names its setting. */
export function refusedAnswer(server: string, { code, message, detail }: Refusal): HubError {
  if (code !== 'upstream-too-large') return invalidAnswer(server, message);
  const setting = detail.setting ?? 'answerBytes';
  return new HubError(code, { message, detail: { server, phase: 'answer', setting, outcome: 'unknown' } });
}

/** `why` = a sentence of the hub's own, with or without its full stop. */
export function invalidAnswer(server: string, why: string): HubError {
  const text = why.replace(/\.$/, '');
  // Without a stack, which nobody reads and which takes 6 µs: a server may send such answers by the thousand.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const fault = new HubError('upstream-invalid', {
    message: `The answer of ${server} is not a valid JSON-RPC message: ${text}.`,
    detail: { server, phase: 'answer', outcome: 'unknown' },
  });
  Error.stackTraceLimit = stackTraceLimit;
  return fault;
}

/** The error of a call whose answer has come and cannot be understood. It says nothing about the server's health: the server answers. */
import { HubError } from '../kernel/errors.ts';

/** `why` = a sentence of the hub's own, with or without its full stop. */
export function invalidAnswer(server: string, why: string): HubError {
  const text = why.replace(/\.$/, '');
  return new HubError('upstream-invalid', {
    message: `The answer of ${server} is not a valid JSON-RPC message: ${text}.`,
    detail: { server, phase: 'answer', outcome: 'unknown' },
  });
}

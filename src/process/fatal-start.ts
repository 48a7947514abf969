/**
 * Ends a process that cannot start with its configuration, in a way that the supervisor does not repeat.
 */
import { HubError } from '../model/errors.ts';
import type { ProcessMessage } from '../model/supervisor-messages.ts';
import { createRuntime } from '../runtime/runtime.ts';

/** sysexits.h: EX_CONFIG. */
export const EXIT_CONFIG = 78;
/** The exit does not wait longer for the message, ms. */
const SEND_MS = 1000;

/** Reports `config-invalid` to the supervisor, which prints it, and exits with 78. Throws every other fault again. */
export function endFatalStart(fault: unknown): void {
  if (!(fault instanceof HubError) || fault.code !== 'config-invalid' || !process.connected) throw fault;
  const end = (): never => process.exit(EXIT_CONFIG);
  const message: ProcessMessage = { t: 'hopeless', lines: [fault.message] };
  createRuntime().timers.after(SEND_MS, end);
  process.send?.(message, undefined, undefined, end);
}

/** Ends a command with its own exit code when a change was made but is not yet in force on every worker. */
import type { Confirmation } from '../admin/contract.ts';
import { CliFailure, EXIT } from './exit.ts';

/**
 * Throws a `CliFailure` that names the workers that have not confirmed. An older hub does not report this, and counts
 * as confirmed.
 */
export function demandConfirmation({ confirmed, unconfirmed }: Partial<Confirmation>): void {
  if (confirmed !== false) return;
  const who = (unconfirmed ?? []).map(({ message }) => message).join('; ');
  throw new CliFailure(
    EXIT.unconfirmed,
    `Done, but not yet in effect on all workers: ${who}. The change takes effect there when the worker is running and connected.`,
  );
}

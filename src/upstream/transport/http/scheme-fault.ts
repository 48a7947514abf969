/**
 * Finds out whether an opening failed because "url" says http:// and the server uses TLS: such servers close the
 * connection, send a TLS alert, or answer HTTP 400 with a page.
 * Guarantees: checks only after such a failure, with one connection that carries only a TLS handshake; ends by the
 * deadline; never rejects.
 */

import { HubError } from '../../../model/errors.ts';
import type { EgressPool } from '../../../net/egress.ts';
import { useHttpsWords } from '../../../net/fault-words.ts';
import type { Deadline } from '../../../runtime/deadline.ts';

/** Returns `fault`, or one that recommends https. */
export async function schemeFault(
  fault: unknown,
  { pool, url }: { readonly pool: EgressPool | undefined; readonly url: string },
  deadline: Deadline,
): Promise<unknown> {
  const address = URL.parse(url);
  if (!(fault instanceof HubError) || address?.protocol !== 'http:' || !isSuspect(fault)) return fault;
  if (!(await pool?.answersTls?.(deadline))) return fault;
  const { status: _status, operator: _operator, ...detail } = fault.detail;
  return new HubError('upstream-tls', {
    message: useHttpsWords(`${address.hostname}:${address.port || '80'}`),
    detail: { ...detail, reason: 'speaks-tls', outcome: 'not-executed' },
    cause: fault,
  });
}

function isSuspect({ code, detail }: HubError): boolean {
  if (code === 'upstream-gone') return true;
  if (code === 'upstream-protocol') return String(detail.reason).startsWith('http-');
  if (code !== 'upstream-http' || detail.status !== 400) return false;
  const page: unknown = detail.operator?.body;
  return typeof page !== 'string' || !page.startsWith('{');
}

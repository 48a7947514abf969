/**
 * Continues a session that an earlier worker left at a server that allows one session and refuses to end it.
 * Guarantees: only sessions that no running process uses are taken, each by one worker; request ids in it are new to
 * the server; a session without an answer to ping is given back; ends by the deadline.
 */

import { isRefusal } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Correlator } from '../connection/correlator.ts';
import type { Transport } from '../transport/transport.ts';
import type { LeftSession } from './session-memory.ts';

export interface ContinueParts {
  readonly server: string;
  readonly transport: Pick<Transport, 'session' | 'negotiated' | 'forgetSession'>;
  readonly correlator: Pick<Correlator, 'ask' | 'ids'>;
}

/** Sessions that are tried in one handshake, newest first. */
const MOST = 3;
const METHOD_NOT_FOUND = -32601;
const EMPTY = Buffer.from('{}');

/**
 * Returns the initialize result of the session that is used from now on; undefined when none is valid. Never rejects.
 */
export async function continueSession(
  parts: ContinueParts,
  left: readonly LeftSession[],
  deadline: Deadline,
): Promise<InitializeResult | undefined> {
  const { transport, correlator } = parts;
  const usable = left.filter(({ hello }) => hello !== undefined);
  for (const one of usable.slice(0, MOST)) {
    if (deadline.ended !== undefined) return undefined;
    const idsFrom = one.hello && (await transport.session?.take(one, deadline));
    if (!one.hello || idsFrom === undefined) continue;
    correlator.ids.startFrom(idsFrom);
    transport.negotiated(one.hello.version);
    const found = await ask(parts, deadline);
    if (found === 'well') return one.hello;
    if (found === 'unknown') await transport.session?.drop(deadline);
    else await transport.session?.giveUp(deadline);
    transport.forgetSession();
  }
  return undefined;
}

/** Tells whether the server knows the session. Never rejects. */
async function ask({ server, correlator }: ContinueParts, deadline: Deadline): Promise<'well' | 'unknown' | 'failed'> {
  const answer = await correlator.ask(
    {
      method: 'ping',
      label: 'upstream-ping',
      owner: server,
      back: SILENT_BACK_CHANNEL,
      budget: new CallBudget(deadline, 'handshakeMs'),
    },
    () => EMPTY,
  );
  if (isRefusal(answer)) return answer.code === 'upstream-session' ? 'unknown' : 'failed';
  // A server may lack ping.
  const isWell = answer.kind !== 'error' || errorCode(answer.json) === METHOD_NOT_FOUND;
  return isWell ? 'well' : 'failed';
}

/**
 * Why a request or a start ended without an answer, in words: server, phase, time waited, and the setting that allows more.
 */

import { type ErrorCode, HubError } from '../model/errors.ts';
import type { LinkPhase } from '../model/events.ts';
import { Refusal } from '../model/outcome.ts';
import { sentence } from '../model/sentence.ts';
import type { ServerSpec } from '../model/snapshot.ts';
import type { EndReason } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { RequestOptions } from './connection/pending-request.ts';

const PHASE_SETTING: Readonly<Record<LinkPhase, string>> = {
  install: 'installMs',
  queue: 'starting',
  start: 'startMs',
  connect: 'connectMs',
  handshake: 'handshakeMs',
  list: 'listMs',
};

/** The setting that gives a phase of starting more time. */
export function phaseSetting(phase: LinkPhase, isLocal: boolean): string {
  return phase === 'handshake' && isLocal ? 'startMs' : PHASE_SETTING[phase];
}

/** A start that did not get through a phase in time. */
export function timeUpFault(server: string, phase: LinkPhase, ms: number): HubError {
  const waitedMs = Math.round(ms);
  const setting = PHASE_SETTING[phase];
  return new HubError('upstream-timeout', {
    message: `${server} did not get through phase ${phase} within ${waitedMs} ms; the setting ${setting} allows more.`,
    detail: { server, phase, waitedMs, setting },
  });
}

/** The same fault of a start that took too long, with what else is known of the server; other faults say enough. */
export function withSigns(fault: unknown, signs: readonly string[]): unknown {
  if (!(fault instanceof HubError) || !SLOW.has(fault.code) || signs.length === 0) return fault;
  const message = [sentence(fault.message), ...signs].join(' ');
  return new HubError(fault.code, { message, detail: fault.detail, cause: fault.cause });
}

const SLOW: ReadonlySet<ErrorCode> = new Set(['upstream-timeout', 'upstream-silent']);

/** A request whose deadline has ended. */
export function endedRefusal(server: string, plan: RequestOptions, reason: EndReason, waitedMs: number): Refusal {
  const { method, setting } = plan;
  const phase = PHASES[method] ?? 'call';
  const detail = { server, phase, waitedMs, outcome: 'unknown' } as const;
  if (reason === 'time-up')
    return new Refusal(
      'upstream-timeout',
      `${server} did not finish ${method} within ${waitedMs} ms; the setting ${setting} allows more.`,
      { ...detail, setting },
    );
  if (reason === 'revoked') return new Refusal('key-revoked', undefined, detail);
  return new Refusal(reason === 'draining' || reason === 'stopped' ? 'draining' : 'client-gone', undefined, detail);
}

const PHASES: Readonly<Record<string, string>> = { initialize: 'handshake', 'tools/list': 'list', ping: 'ping' };

/** A request whose deadline had ended before it was sent. */
export function notSentRefusal(plan: RequestOptions, ended: EndReason): Refusal {
  const detail = { phase: 'call', outcome: 'not-executed' } as const;
  if (ended === 'time-up') return new Refusal('wait-expired', `${plan.method}: no time was left to send it.`, detail);
  return new Refusal(ended === 'draining' || ended === 'stopped' ? 'draining' : 'client-gone', undefined, detail);
}

/** What a lost connection means for the calls on it. */
export function goneRefusal(server: string, fault: HubError, outcome: 'unknown' | 'not-executed'): Refusal {
  const code = fault.code === 'server-down' ? 'upstream-gone' : fault.code;
  const message = `The connection to ${server} ended during the call: ${sentence(fault.message)}`;
  return new Refusal(code, message, { ...fault.detail, server, phase: 'call', outcome });
}

/** A server whose process the hub runs. */
export function isLocal(spec: ServerSpec): boolean {
  return spec.transport.kind === 'stdio' || (spec.transport.kind === 'http' && spec.transport.launch !== undefined);
}

/** What was thrown, as a fault with a name; a defect of ours is told. */
export function faultOf(thrown: unknown, runtime: Runtime, server: string): HubError {
  if (thrown instanceof HubError) return thrown;
  runtime.bus.publish({ type: 'task-faulted', task: `link ${server}`, fault: thrown });
  return new HubError('internal', { cause: thrown });
}

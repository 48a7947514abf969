/**
 * Builds the errors of requests and starts that ended without an answer: server, phase, time waited, and the setting
 * that extends it.
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

/** Returns the setting that extends the time of a start phase. */
export function phaseSetting(phase: LinkPhase, isLocal: boolean): string {
  return phase === 'handshake' && isLocal ? 'startMs' : PHASE_SETTING[phase];
}

/** Returns the fault of a start that did not finish a phase in time. */
export function timeUpFault(server: string, phase: LinkPhase, ms: number): HubError {
  const waitedMs = Math.round(ms);
  const setting = PHASE_SETTING[phase];
  return new HubError('upstream-timeout', {
    message: `${server} did not complete phase ${phase} within ${waitedMs} ms; the setting ${setting} allows more.`,
    detail: { server, phase, waitedMs, setting },
  });
}

/** Adds details about the server to the fault of a start that timed out; returns other faults as they are. */
export function withSigns(fault: unknown, signs: readonly string[]): unknown {
  if (!(fault instanceof HubError) || !SLOW.has(fault.code) || signs.length === 0) return fault;
  const message = [sentence(fault.message), ...signs].join(' ');
  return new HubError(fault.code, { message, detail: fault.detail, cause: fault.cause });
}

const SLOW: ReadonlySet<ErrorCode> = new Set(['upstream-timeout', 'upstream-silent']);

/** Returns the refusal of a request whose deadline has ended. */
export function endedRefusal(server: string, plan: RequestOptions, reason: EndReason, waitedMs: number): Refusal {
  const { method, budget } = plan;
  const phase = PHASES[method] ?? 'call';
  const detail = { server, phase, waitedMs, outcome: 'unknown' } as const;
  if (reason === 'time-up')
    return new Refusal(
      'upstream-timeout',
      `${server} did not finish ${method} within ${waitedMs} ms; the setting ${budget.setting} allows more.`,
      { ...detail, setting: budget.setting },
    );
  if (reason === 'revoked') return new Refusal('key-revoked', undefined, detail);
  return new Refusal(reason === 'draining' || reason === 'stopped' ? 'draining' : 'client-gone', undefined, detail);
}

const PHASES: Readonly<Record<string, string>> = { initialize: 'handshake', 'tools/list': 'list', ping: 'ping' };

/** Returns the refusal of a request whose deadline had ended before it was sent. */
export function notSentRefusal(plan: RequestOptions, ended: EndReason): Refusal {
  const detail = { phase: 'call', outcome: 'not-executed' } as const;
  if (ended === 'time-up')
    return new Refusal('wait-expired', `${plan.method}: the deadline passed before it was sent.`, detail);
  return new Refusal(ended === 'draining' || ended === 'stopped' ? 'draining' : 'client-gone', undefined, detail);
}

/** Returns the refusal of calls whose connection was lost. */
export function goneRefusal(server: string, fault: HubError, outcome: 'unknown' | 'not-executed'): Refusal {
  const code = fault.code === 'server-down' ? 'upstream-gone' : fault.code;
  const message = `The connection to ${server} ended during the call: ${sentence(fault.message)}`;
  return new Refusal(code, message, { ...fault.detail, server, phase: 'call', outcome });
}

/** Tells whether the hub runs the process of this server. */
export function isLocal(spec: ServerSpec): boolean {
  return spec.transport.kind === 'stdio' || (spec.transport.kind === 'http' && spec.transport.launch !== undefined);
}

/** Returns what was thrown as a HubError; reports it if it is a fault of the hub's own code. */
export function faultOf(thrown: unknown, runtime: Runtime, server: string): HubError {
  if (thrown instanceof HubError) return thrown;
  runtime.bus.publish({ type: 'task-faulted', task: `link ${server}`, fault: thrown });
  return new HubError('internal', { cause: thrown });
}

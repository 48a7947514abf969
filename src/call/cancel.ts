/**
 * Pending requests of sessions, so that their client can cancel them. Two sessions may use the same id; each cancels
 * its own.
 * Guarantees: a cancelled request ends wherever it waits, and gets no answer; ids are compared as raw JSON, so 1 and
 * "1" differ.
 */

import { Refusal } from '../model/outcome.ts';
import { paramSpan } from '../protocol/scan.ts';
import { CappedSlots } from '../runtime/capped-slots.ts';
import type { Call } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';

export interface Cancels {
  /**
   * Remembers a request until `forget`. Returns −1 when it has no session, or the table is full; it then cannot be
   * cancelled.
   */
  remember(call: Call): number;
  forget(slot: number): void;
  /** Handles notifications/cancelled. */
  cancel(notification: Call): void;
}

export function createCancels(parts: Pick<PipelineParts, 'runtime' | 'limits'>): Cancels {
  const { runtime, limits } = parts;
  // Searched from end to end for a cancel, which is rare; a map would cost every call (measured: p99 3 → 17 ms).
  const max = () => limits.calls + limits.parked;
  const slots = new CappedSlots<Call>('call.in-flight', max, runtime.ceilings);
  return {
    remember: (call) => (call.session ? slots.add(call) : -1),
    forget(slot) {
      if (slot >= 0) slots.free(slot);
    },
    cancel({ envelope, session }) {
      if (!session || envelope.params.at < 0) return;
      const id = paramSpan(envelope, 'requestId');
      if (id.at < 0) return;
      const idRaw = envelope.bytes.subarray(id.at, id.end);
      const cancelled = [...slots.values()].filter((call) => call.session?.id === session.id && hasId(call, idRaw));
      for (const call of cancelled) runtime.openWork.end(call.open, new Refusal('cancelled'));
    },
  };
}

function hasId({ envelope: { bytes, id } }: Call, idRaw: Buffer): boolean {
  return bytes.subarray(id.at, id.end).equals(idRaw);
}

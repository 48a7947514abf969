/**
 * Calls in flight that a client can call off, by session and id. Two sessions may use the same id; each cancels its own.
 * Promises: a cancel ends the wait upstream at once; ids are compared as raw JSON, so 1 and "1" differ.
 * Does not: answer. The call that was ended answers for itself.
 */
import { CappedSlots } from '../kernel/capped.ts';
import { paramSpan } from '../protocol/scan.ts';
import type { Call, InFlight } from './call.ts';
import type { LineRooms } from './rooms.ts';

export interface Cancels {
  /** Remembers a call until `forget`. −1 = the table is full; the call goes on but cannot be cancelled. */
  remember(call: InFlight): number;
  forget(slot: number): void;
  /** Carries out notifications/cancelled. */
  cancel(call: Call): void;
}

export function createCancels(rooms: Pick<LineRooms, 'kernel' | 'limits'>): Cancels {
  // Calls inside, and suspended ones, which admission has let go. Looked through from end to end on a cancel, which is rare; a map would cost every call (measured: p99 3 → 17 ms).
  const slots = new CappedSlots<InFlight>(
    'call.in-flight',
    rooms.limits.calls + rooms.limits.parked,
    rooms.kernel.ceilings,
  );
  return {
    remember: (call) => slots.add(call),
    forget(slot) {
      if (slot >= 0) slots.free(slot);
    },
    cancel(call) {
      const { envelope, session } = call;
      if (!session || envelope.params.at < 0) return;
      const id = paramSpan(envelope, 'requestId');
      if (id.at < 0) return;
      const rawId = envelope.bytes.toString('utf8', id.at, id.end);
      for (const flying of slots.values()) {
        if (flying.owner === session.id && flying.rawId === rawId) flying.deadline.end('cancelled');
      }
    },
  };
}

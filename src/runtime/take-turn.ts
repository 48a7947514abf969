/**
 * A turn of the event loop for the next piece of long background work.
 */
import type { Runtime } from './runtime.ts';

/** What work in turns needs of the kernel. */
export type TurnsRuntime = Pick<Runtime, 'turns' | 'waits' | 'deadline'>;

/** A loop that is busy for longer has other troubles than one more piece of work, ms. */
const TURN_MS = 2000;

/** Settles in a turn of the event loop that no other piece of work gets, within 2 s in any case. Never rejects; the piece is to follow at once. */
export async function takeTurn(runtime: TurnsRuntime, owner: string): Promise<void> {
  using deadline = runtime.deadline(TURN_MS);
  await runtime.waits.for(runtime.turns.next(), { label: 'background', owner, deadline }).catch(() => undefined);
}

/** Runs steps of some milliseconds each, a turn of the event loop for each. `isOver` = the result is not wanted any more: returns undefined. */
export async function inTurns<T>(
  steps: Iterator<void, T>,
  runtime: TurnsRuntime,
  { owner, isOver = () => false }: { readonly owner: string; readonly isOver?: () => boolean },
): Promise<T | undefined> {
  for (;;) {
    await takeTurn(runtime, owner);
    if (isOver()) return undefined;
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Runs all steps in this turn. */
export function atOnce<T>(steps: Iterator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * Waits for a turn of the event loop in which the next piece of long background work may run.
 */
import type { Runtime } from './runtime.ts';

/** What work in turns needs of the runtime. */
export type TurnsRuntime = Pick<Runtime, 'turns' | 'waits' | 'deadline'>;

/** When the loop is busy for longer, in ms, one more piece of work makes little difference. */
const TURN_MS = 2000;

/**
 * Settles in a turn of the event loop that no other piece of work gets, or after 2 s at the latest. Never rejects. Run
 * the piece at once.
 */
export async function takeTurn(runtime: TurnsRuntime, owner: string): Promise<void> {
  using deadline = runtime.deadline(TURN_MS);
  await runtime.waits.for(runtime.turns.next(), { label: 'background', owner, deadline }).catch(() => undefined);
}

/**
 * Runs steps of some milliseconds each, one in each turn of the event loop. Returns undefined when `isOver` says that
 * the result is no longer wanted.
 */
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

/** Runs all steps in the current turn. */
export function atOnce<T>(steps: Iterator<void, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

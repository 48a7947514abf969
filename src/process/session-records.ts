/**
 * What is known of sessions beyond their statements, between this hub and control: ended ones, and what living ones want to hear.
 * Promises: what control tells is taken in one turn; servers are told of wishes that are new here.
 * Does not: travel (`relay/`) or keep (`control/`).
 */
import type { SessionRecord } from '../relay/relay-messages.ts';
import type { Notes } from '../session/preferences.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Fleet } from '../upstream/fleet.ts';

export interface SessionMarks {
  take(marks: readonly SessionRecord[]): void;
  /** Something came up in this hub. */
  onMark(listener: (mark: SessionRecord) => void): void;
}

export function createSessionMarks(rooms: {
  readonly sessions: Sessions;
  readonly notes: Notes;
  readonly fleet: Fleet;
}): SessionMarks {
  const { sessions, notes, fleet } = rooms;
  return {
    take(marks) {
      let hasNews = false;
      for (const { id, atMs, wishes, owner } of marks) {
        if (wishes === undefined) sessions.bury({ id, atMs, owner });
        else if (!sessions.hasEnded(id) && notes.take({ id, atMs, wishes, owner })) hasNews = true;
      }
      if (hasNews) for (const { server } of fleet.statuses()) fleet.wishesChanged(server);
    },
    onMark(listener) {
      sessions.onEnded((tombstone) => listener({ ...tombstone, wishes: undefined }));
      notes.onChanged(listener);
    },
  };
}

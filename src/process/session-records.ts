/**
 * Connects sessions and preferences of this worker with the relay: applies records of other workers and reports its
 * own.
 * Guarantees: the records of one message are applied in one turn; servers are notified of new subscriptions.
 */
import type { SessionRecord } from '../relay/relay-messages.ts';
import type { SessionPreferences } from '../session/preferences.ts';
import type { Sessions } from '../session/sessions.ts';
import type { ServerRegistry } from '../upstream/registry.ts';

export interface SessionRecords {
  apply(records: readonly SessionRecord[]): void;
  /** Called for each tombstone or change of preferences in this worker. */
  onRecord(listener: (record: SessionRecord) => void): void;
}

export function createSessionRecords(modules: {
  readonly sessions: Sessions;
  readonly preferences: SessionPreferences;
  readonly registry: ServerRegistry;
}): SessionRecords {
  const { sessions, preferences, registry } = modules;
  return {
    apply(records) {
      let hasNews = false;
      for (const { id, atMs, wishes, owner } of records) {
        if (wishes === undefined) sessions.applyTombstone({ id, atMs, owner });
        else if (!sessions.hasEnded(id) && preferences.applyStored({ id, atMs, json: wishes, owner })) hasNews = true;
      }
      if (hasNews) for (const { server } of registry.statuses()) registry.preferencesChanged(server);
    },
    onRecord(listener) {
      sessions.onTombstone((tombstone) => listener({ ...tombstone, wishes: undefined }));
      preferences.onChanged(({ json, ...record }) => listener({ ...record, wishes: json }));
    },
  };
}

/**
 * Replicates session records (tombstones and preferences) from the worker where they changed to the disk and to all
 * workers.
 * Guarantees: a record is sent back once it is on disk, or the store has failed; failed writes are repeated;
 * preferences never undo a tombstone or newer preferences; records expire after `sessionMs`; memory and table are
 * limited in total and for each key.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount, FairMap } from '../runtime/shares.ts';
import {
  addSessionRecords,
  dropExpiredSessionRecords,
  dropOversizedSessionRecords,
  listSessionRecords,
  type SessionRecord,
} from '../store/session-records.ts';
import type { Store } from '../store/store.ts';

const BATCH_DELAY_MS = 50;
const RETRY_MS = 2000;
const STORE_TIMEOUT_MS = 5000;
const SWEEP_EVERY_MS = 60 * 60_000;
/** Rows of one transaction, about 10 ms. */
const BATCH_ROWS = 2000;
const BATCH_BYTES = 1024 * 1024;
/** Preferences without subscriptions are shorter. */
const LEVEL_BYTES = 256;

export interface SessionRecords {
  start(deadline: Deadline): Promise<void>;
  add(record: SessionRecord): void;
  /** Records for a worker that has just connected. */
  all(): readonly SessionRecord[];
  stop(): void;
}

export function createSessionRecords(parts: {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly store: Store;
  readonly send: (records: readonly SessionRecord[]) => void;
}): SessionRecords {
  const { runtime, limits, store, send } = parts;
  const { ceilings } = runtime;
  const bounds = { max: () => limits.tombstones, share: () => limits.tombstonesPerKey };
  const bytes = new FairCount(
    'control.mark-bytes',
    () => limits.preferencesBytes,
    () => limits.preferencesBytesPerKey,
    'refuse',
    ceilings,
  );
  const evicts = 'evict-greediest';
  const stored = new FairMap<string, SessionRecord>('control.session-marks', bounds, evicts, ceilings, evicted);
  const pending = new FairMap<string, SessionRecord>('control.marks-unkept', bounds, evicts, ceilings);
  /** Evicted from memory, but still in the table. */
  const stale = new Set<string>(); // bounded by: stored records; `save` deletes them all
  let timer: Disposable | undefined;
  let sweep: Disposable | undefined;
  let isSaving = false;

  function evicted(id: string, record: SessionRecord): void {
    bytes.give(owner(record), chargedBytes(record));
    stale.add(id);
  }

  /** Keeps a record in memory. Returns false when its key has used up its bytes. */
  function admit(record: SessionRecord): boolean {
    const before = stored.get(record.id);
    if (before) bytes.give(owner(before), chargedBytes(before));
    const size = chargedBytes(record);
    const fits = size === 0 || bytes.take(owner(record), size) === 'taken';
    if (fits) stored.set(owner(record), record.id, record);
    else if (before) stored.delete(record.id);
    if (fits) stale.delete(record.id);
    else stale.add(record.id);
    return fits;
  }

  function schedule(ms: number): void {
    timer ??= runtime.timers.after(ms, () => {
      timer = undefined;
      if (!isSaving) runtime.scope.run('store session records', save);
    });
  }

  /** Returns the oldest pending records, limited by number and bytes; at least one. */
  function nextBatch(): SessionRecord[] {
    const batch: SessionRecord[] = []; // bounded by: BATCH_ROWS
    let size = 0;
    for (const record of pending.values()) {
      size += chargedBytes(record);
      if (batch.length >= BATCH_ROWS || (batch.length > 0 && size > BATCH_BYTES)) break;
      batch.push(record);
    }
    return batch;
  }

  async function save(): Promise<void> {
    isSaving = true;
    const batch = nextBatch();
    for (const record of batch) admit(record);
    const dropped = [...stale];
    using deadline = runtime.deadline(STORE_TIMEOUT_MS);
    let restMs = BATCH_DELAY_MS;
    try {
      const fitting = batch.filter(({ id }) => !stale.has(id));
      await addSessionRecords(store, fitting, deadline, dropped);
      for (const id of dropped) stale.delete(id);
      // A newer record may have arrived meanwhile.
      for (const record of batch) if (pending.get(record.id) === record) pending.delete(record.id);
    } catch (fault) {
      restMs = RETRY_MS;
      runtime.bus.publish({ type: 'task-faulted', task: 'store session records', fault });
    } finally {
      isSaving = false;
    }
    send(batch);
    if (pending.size > 0) schedule(restMs);
  }

  function dropExpired(): void {
    const beforeMs = runtime.clock.wallMs() - limits.sessionMs;
    for (const [id, record] of [...stored.entries()])
      if (record.atMs < beforeMs && stored.delete(id)) bytes.give(owner(record), chargedBytes(record));
    runtime.scope.run('delete expired session records', async () => {
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
      await dropExpiredSessionRecords(store, beforeMs, deadline);
    });
  }

  return {
    async start(deadline) {
      const sinceMs = runtime.clock.wallMs() - limits.sessionMs;
      const recordBytes = limits.sessionPreferencesBytes;
      const dropped = await dropOversizedSessionRecords(store, recordBytes, deadline);
      if (dropped > 0) {
        const fault = `${dropped} session records of more than ${recordBytes} bytes were deleted from the store`;
        runtime.bus.publish({ type: 'task-faulted', task: 'load session records', fault });
      }
      const range = { sinceMs, max: limits.tombstones, recordBytes, allBytes: limits.preferencesBytes };
      const rows = await listSessionRecords(store, range, deadline);
      for (const record of rows.reverse()) admit(record);
      sweep = runtime.timers.every(SWEEP_EVERY_MS, dropExpired, 0.1);
    },
    add(record) {
      if (textBytes(record) > limits.sessionPreferencesBytes) {
        const fault = `a session record of ${textBytes(record)} bytes was dropped; sessionPreferencesBytes allows ${limits.sessionPreferencesBytes}`;
        return runtime.bus.publish({ type: 'task-faulted', task: 'store session records', fault });
      }
      const known = pending.get(record.id) ?? stored.get(record.id);
      if (known && supersedes(known, record)) return send([stored.get(record.id) ?? known]);
      pending.set(owner(record), record.id, record);
      schedule(BATCH_DELAY_MS);
    },
    all: () => [...stored.values()],
    stop() {
      timer?.[Symbol.dispose]();
      sweep?.[Symbol.dispose]();
    },
  };
}

function owner({ owner = '' }: SessionRecord): string {
  return owner;
}

function textBytes({ wishes }: SessionRecord): number {
  return wishes === undefined ? 0 : Buffer.byteLength(wishes);
}

/** Returns the bytes charged to the key. A log level alone is free: the number of records limits it. */
function chargedBytes(record: SessionRecord): number {
  const size = textBytes(record);
  return size <= LEVEL_BYTES ? 0 : size;
}

/** Returns whether `known` makes `came` obsolete. */
function supersedes(known: SessionRecord, came: SessionRecord): boolean {
  if (known.wishes === undefined) return true;
  return came.wishes !== undefined && known.atMs >= came.atMs;
}

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

export interface SessionRecordsParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly store: Store;
  readonly send: (records: readonly SessionRecord[]) => void;
}

export class SessionRecords {
  readonly #parts: SessionRecordsParts;
  readonly #bytes: FairCount;
  readonly #stored: FairMap<string, SessionRecord>;
  readonly #pending: FairMap<string, SessionRecord>;
  /** Evicted from memory, but still in the table. */
  readonly #stale = new Set<string>(); // bounded by: stored records; `save` deletes them all
  #timer: Disposable | undefined;
  #sweep: Disposable | undefined;
  #isSaving = false;

  constructor(parts: SessionRecordsParts) {
    const { limits } = parts;
    const { ceilings } = parts.runtime;
    this.#parts = parts;
    const bounds = { max: () => limits.tombstones, share: () => limits.tombstonesPerKey };
    this.#bytes = new FairCount(
      'control.mark-bytes',
      () => limits.preferencesBytes,
      () => limits.preferencesBytesPerKey,
      'refuse',
      ceilings,
    );
    this.#stored = new FairMap('control.session-marks', bounds, 'evict-greediest', ceilings, (id, record) =>
      this.#evicted(id, record),
    );
    this.#pending = new FairMap('control.marks-unkept', bounds, 'evict-greediest', ceilings);
  }

  async start(deadline: Deadline): Promise<void> {
    const { runtime, limits, store } = this.#parts;
    const sinceMs = runtime.clock.wallMs() - limits.sessionMs;
    const recordBytes = limits.sessionPreferencesBytes;
    const dropped = await dropOversizedSessionRecords(store, recordBytes, deadline);
    if (dropped > 0) {
      const fault = `${dropped} session records of more than ${recordBytes} bytes were deleted from the store`;
      runtime.bus.publish({ type: 'task-faulted', task: 'load session records', fault });
    }
    const range = { sinceMs, max: limits.tombstones, recordBytes, allBytes: limits.preferencesBytes };
    const rows = await listSessionRecords(store, range, deadline);
    for (const record of rows.reverse()) this.#admit(record);
    this.#sweep = runtime.timers.every(SWEEP_EVERY_MS, () => this.#dropExpired(), 0.1);
  }

  add(record: SessionRecord): void {
    const { limits, runtime, send } = this.#parts;
    if (textBytes(record) > limits.sessionPreferencesBytes) {
      const fault = `a session record of ${textBytes(record)} bytes was dropped; sessionPreferencesBytes allows ${limits.sessionPreferencesBytes}`;
      return runtime.bus.publish({ type: 'task-faulted', task: 'store session records', fault });
    }
    const known = this.#pending.get(record.id) ?? this.#stored.get(record.id);
    if (known && supersedes(known, record)) return send([this.#stored.get(record.id) ?? known]);
    this.#pending.set(owner(record), record.id, record);
    this.#schedule(BATCH_DELAY_MS);
  }

  /** Records for a worker that has just connected. */
  all(): readonly SessionRecord[] {
    return [...this.#stored.values()];
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]();
    this.#sweep?.[Symbol.dispose]();
  }

  #evicted(id: string, record: SessionRecord): void {
    this.#bytes.give(owner(record), chargedBytes(record));
    this.#stale.add(id);
  }

  /** Keeps a record in memory. Returns false when its key has used up its bytes. */
  #admit(record: SessionRecord): boolean {
    const before = this.#stored.get(record.id);
    if (before) this.#bytes.give(owner(before), chargedBytes(before));
    const size = chargedBytes(record);
    const fits = size === 0 || this.#bytes.take(owner(record), size) === 'taken';
    if (fits) this.#stored.set(owner(record), record.id, record);
    else if (before) this.#stored.delete(record.id);
    if (fits) this.#stale.delete(record.id);
    else this.#stale.add(record.id);
    return fits;
  }

  #schedule(ms: number): void {
    const { runtime } = this.#parts;
    this.#timer ??= runtime.timers.after(ms, () => {
      this.#timer = undefined;
      if (!this.#isSaving) runtime.scope.run('store session records', () => this.#save());
    });
  }

  /** Returns the oldest pending records, limited by number and bytes; at least one. */
  #nextBatch(): SessionRecord[] {
    const batch: SessionRecord[] = []; // bounded by: BATCH_ROWS
    let size = 0;
    for (const record of this.#pending.values()) {
      size += chargedBytes(record);
      if (batch.length >= BATCH_ROWS || (batch.length > 0 && size > BATCH_BYTES)) break;
      batch.push(record);
    }
    return batch;
  }

  async #save(): Promise<void> {
    const { runtime, store, send } = this.#parts;
    this.#isSaving = true;
    const batch = this.#nextBatch();
    for (const record of batch) this.#admit(record);
    const dropped = [...this.#stale];
    using deadline = runtime.deadline(STORE_TIMEOUT_MS);
    let restMs = BATCH_DELAY_MS;
    try {
      const fitting = batch.filter(({ id }) => !this.#stale.has(id));
      await addSessionRecords(store, fitting, deadline, dropped);
      for (const id of dropped) this.#stale.delete(id);
      // A newer record may have arrived meanwhile.
      for (const record of batch) if (this.#pending.get(record.id) === record) this.#pending.delete(record.id);
    } catch (fault) {
      restMs = RETRY_MS;
      runtime.bus.publish({ type: 'task-faulted', task: 'store session records', fault });
    } finally {
      this.#isSaving = false;
    }
    send(batch);
    if (this.#pending.size > 0) this.#schedule(restMs);
  }

  #dropExpired(): void {
    const { runtime, limits, store } = this.#parts;
    const beforeMs = runtime.clock.wallMs() - limits.sessionMs;
    for (const [id, record] of [...this.#stored.entries()])
      if (record.atMs < beforeMs && this.#stored.delete(id)) this.#bytes.give(owner(record), chargedBytes(record));
    runtime.scope.run('delete expired session records', async () => {
      using deadline = runtime.deadline(STORE_TIMEOUT_MS);
      await dropExpiredSessionRecords(store, beforeMs, deadline);
    });
  }
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

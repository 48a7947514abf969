/**
 * Replicated state of sessions beyond their sealed ids (ended, or their preferences): from the hub where it changed to the disk and to every
 * hub.
 * Guarantees: a hub gets its own back once it is on the disk (until then it keeps sending it); while the store fails the other hubs get it all
 * the same, and keeping is tried again; an end is never undone by an older or a later preference; none is kept longer than a session can live;
 * memory and table are bounded in all and for each key, by number and by bytes, and a key that sends too much loses its own.
 */
import type { Limits } from '../config/limits.ts';
import type { Deadline } from '../kernel/deadline.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { FairCount, FairMap } from '../kernel/shares.ts';
import {
  addSessionMarks,
  dropLongSessionMarks,
  dropSessionMarks,
  listSessionMarks,
  type SessionMark,
} from '../store/session-records.ts';
import type { Store } from '../store/store.ts';

const GATHER_MS = 50;
const AGAIN_MS = 2000;
const KEEP_MS = 5000;
const SWEEP_EVERY_MS = 60 * 60_000;
/** Rows of one transaction; about 10 ms. */
const AT_ONCE = 2000;
const AT_ONCE_BYTES = 1024 * 1024;
/** Preferences without a subscription are shorter. */
const LEVEL_BYTES = 256;

export interface SessionMarks {
  start(deadline: Deadline): Promise<void>;
  add(mark: SessionMark): void;
  /** For a hub that has just come. */
  all(): readonly SessionMark[];
  stop(): void;
}

export function createSessionMarks(parts: {
  readonly kernel: Kernel;
  readonly limits: Limits;
  readonly store: Store;
  readonly tell: (marks: readonly SessionMark[]) => void;
}): SessionMarks {
  const { kernel, limits, store, tell } = parts;
  const { ceilings } = kernel;
  const bounds = { max: limits.tombstones, share: limits.tombstonesPerKey };
  const bytes = new FairCount(
    'control.mark-bytes',
    limits.preferencesBytes,
    limits.preferencesBytesPerKey,
    'refuse',
    ceilings,
  );
  const evicts = 'evict-greediest';
  const kept = new FairMap<string, SessionMark>('control.session-marks', bounds, evicts, ceilings, pushedOut);
  const waiting = new FairMap<string, SessionMark>('control.marks-unkept', bounds, evicts, ceilings);
  /** Pushed out of memory, and still in the table. */
  const stale = new Set<string>(); // bounded by: marks kept; a batch of `keep` drops them all
  let timer: Disposable | undefined;
  let sweep: Disposable | undefined;
  let isKeeping = false;

  function pushedOut(id: string, mark: SessionMark): void {
    bytes.give(ownerOf(mark), bytesOf(mark));
    stale.add(id);
  }

  /** False = its key has used up its bytes; nothing is kept of it. */
  function hold(mark: SessionMark): boolean {
    const before = kept.get(mark.id);
    if (before) bytes.give(ownerOf(before), bytesOf(before));
    const size = bytesOf(mark);
    const fits = size === 0 || bytes.take(ownerOf(mark), size) === 'taken';
    if (fits) kept.set(ownerOf(mark), mark.id, mark);
    else if (before) kept.delete(mark.id);
    if (fits) stale.delete(mark.id);
    else stale.add(mark.id);
    return fits;
  }

  function schedule(ms: number): void {
    timer ??= kernel.timers.after(ms, () => {
      timer = undefined;
      if (!isKeeping) kernel.scope.run('keep session marks', keep);
    });
  }

  /** The oldest of those that wait, up to a bound of number and bytes; at least one. */
  function nextBatch(): SessionMark[] {
    const batch: SessionMark[] = []; // bounded by: AT_ONCE
    let size = 0;
    for (const mark of waiting.values()) {
      size += bytesOf(mark);
      if (batch.length >= AT_ONCE || (batch.length > 0 && size > AT_ONCE_BYTES)) break;
      batch.push(mark);
    }
    return batch;
  }

  async function keep(): Promise<void> {
    isKeeping = true;
    const batch = nextBatch();
    for (const mark of batch) hold(mark);
    const dropped = [...stale];
    using deadline = kernel.deadline(KEEP_MS);
    let restMs = GATHER_MS;
    try {
      const fitting = batch.filter(({ id }) => !stale.has(id));
      await addSessionMarks(store, fitting, deadline, dropped);
      for (const id of dropped) stale.delete(id);
      // A newer one may have come meanwhile.
      for (const mark of batch) if (waiting.get(mark.id) === mark) waiting.delete(mark.id);
    } catch (fault) {
      restMs = AGAIN_MS;
      kernel.bus.publish({ type: 'task-faulted', task: 'keep session marks', fault });
    } finally {
      isKeeping = false;
    }
    tell(batch);
    if (waiting.size > 0) schedule(restMs);
  }

  function forgetOld(): void {
    const beforeMs = kernel.clock.wallMs() - limits.sessionMs;
    for (const [id, mark] of [...kept.entries()])
      if (mark.atMs < beforeMs && kept.delete(id)) bytes.give(ownerOf(mark), bytesOf(mark));
    kernel.scope.run('drop session marks', async () => {
      using deadline = kernel.deadline(KEEP_MS);
      await dropSessionMarks(store, beforeMs, deadline);
    });
  }

  return {
    async start(deadline) {
      const sinceMs = kernel.clock.wallMs() - limits.sessionMs;
      const markBytes = limits.sessionPreferencesBytes;
      const dropped = await dropLongSessionMarks(store, markBytes, deadline);
      if (dropped > 0) {
        const fault = `${dropped} session marks of more than ${markBytes} bytes were dropped from the store`;
        kernel.bus.publish({ type: 'task-faulted', task: 'load session marks', fault });
      }
      const range = { sinceMs, max: limits.tombstones, markBytes, allBytes: limits.preferencesBytes };
      const rows = await listSessionMarks(store, range, deadline);
      for (const mark of rows.reverse()) hold(mark);
      sweep = kernel.timers.every(SWEEP_EVERY_MS, forgetOld, 0.1);
    },
    add(mark) {
      if (textBytes(mark) > limits.sessionPreferencesBytes) {
        const fault = `a session mark of ${textBytes(mark)} bytes was dropped; sessionPreferencesBytes allows ${limits.sessionPreferencesBytes}`;
        return kernel.bus.publish({ type: 'task-faulted', task: 'keep session marks', fault });
      }
      const known = waiting.get(mark.id) ?? kept.get(mark.id);
      if (known && outranks(known, mark)) return tell([kept.get(mark.id) ?? known]);
      waiting.set(ownerOf(mark), mark.id, mark);
      schedule(GATHER_MS);
    },
    all: () => [...kept.values()],
    stop() {
      timer?.[Symbol.dispose]();
      sweep?.[Symbol.dispose]();
    },
  };
}

function ownerOf({ owner = '' }: SessionMark): string {
  return owner;
}

function textBytes({ wishes }: SessionMark): number {
  return wishes === undefined ? 0 : Buffer.byteLength(wishes);
}

/** What counts for the bytes of its key: subscriptions, and not a log level alone, which a share of the number bounds. */
function bytesOf(mark: SessionMark): number {
  const size = textBytes(mark);
  return size <= LEVEL_BYTES ? 0 : size;
}

/** Whether what is known makes what came needless. */
function outranks(known: SessionMark, came: SessionMark): boolean {
  if (known.wishes === undefined) return true;
  return came.wishes !== undefined && known.atMs >= came.atMs;
}

/**
 * Records the sessions that workers have open with HTTP servers in small files (directory 0700, files 0600), so that
 * one whose worker was killed can be ended, or continued if the server does not end it.
 * Guarantees: a session is found only under its target; one that a running process has open never counts as left; at
 * most `max` files; a disk failure affects nothing else.
 */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HttpSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { allNamed, byAge, type Named, type ProcessIdentity } from './session-files.ts';
import { RECORD_BYTES, recordFrom, recordText, type SessionRecord } from './session-record.ts';

/** A session whose process has exited without ending it, or that its opener has given up. */
export interface LeftSession extends SessionRecord {
  readonly file: string;
}

export interface SessionMemoryParts {
  readonly runtime: Runtime;
  readonly dir: string;
  /** Id of this worker. */
  readonly slot: number;
  readonly max: () => number;
  readonly self: ProcessIdentity;
  readonly isRunning: (other: ProcessIdentity) => boolean;
}

const WRITE_MS = 5000;
/** A link is not followed, and a pipe does not block a thread. */
const IN_PLACE = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Files that are looked at, at least. */
const LOOKED_AT = 4096;
/** Files of one target that are read at most: workers and their replacements. */
const LEFT = 64;
/** Late answers of one target that are awaited at once. */
const LATE = 2;
/** Stands for the opener of a session that was given up. */
const NOBODY: ProcessIdentity = { pid: 0, startTicks: '' };

/**
 * Returns the target of a session: it is invalid at another address or with other credentials, and must not be sent
 * there.
 */
export function sessionTarget(server: string, { url, headers }: Pick<HttpSpec, 'url' | 'headers'>): string {
  const fields = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return sha256(JSON.stringify([server, url, fields])).slice(0, 32);
}

export class SessionMemory {
  readonly #parts: SessionMemoryParts;
  /** Files of sessions that are open in this process, and the end of their writes. */
  // bounded by: servers, one session of each and one that is tried beside it
  readonly #open = new Map<string, Promise<void>>();
  /** Pending initialize requests whose connections have ended, by target. */
  readonly #late = new Map<string, number>(); // bounded by: servers; those without one leave

  constructor(parts: SessionMemoryParts) {
    this.#parts = parts;
  }

  /**
   * Records an opened session in the background, within a millisecond or two on a healthy disk, because its worker may
   * be killed at any moment. Returns the name of its file.
   */
  opened(target: string, record: SessionRecord): string {
    const { dir } = this.#parts;
    const file = this.#nameOf(target, record.id);
    this.#open.set(
      file,
      this.#bounded(async (deadline) => {
        // Small enough for one write; an incomplete file is not read.
        const write = () => writeFile(join(dir, file), recordText(record), { mode: 0o600 });
        await write().catch(() => mkdir(dir, { recursive: true, mode: 0o700 }).then(write));
        await this.#tidy(target, deadline);
      }),
    );
    return file;
  }

  /** Records more about an open session, in the background. */
  changed(file: string, record: SessionRecord): void {
    if (!this.#open.has(file)) return;
    const before = this.#open.get(file) ?? Promise.resolve();
    this.#open.set(
      file,
      before.then(() => this.#bounded(() => this.#rewrite(file, record))),
    );
  }

  /**
   * Takes over a session that was left; it is then open here. Returns its file; undefined when another worker has it,
   * or it has ended. Never rejects.
   */
  async taken(
    target: string,
    { file: before, ...record }: LeftSession,
    deadline: Deadline,
  ): Promise<string | undefined> {
    const file = this.#nameOf(target, record.id);
    if (this.#open.has(file)) return undefined;
    const { dir } = this.#parts;
    let isTaken = false;
    let isLate = false;
    const work = this.#bounded(async () => {
      // Of several workers one succeeds.
      await rename(join(dir, before), join(dir, file));
      await this.#rewrite(file, record);
      if (isLate) await rename(join(dir, file), join(dir, this.#nameOf(target, record.id, NOBODY)));
      else isTaken = true;
    }, deadline);
    this.#open.set(file, work);
    await work;
    isLate = !isTaken;
    if (isLate) this.#open.delete(file);
    return isTaken ? file : undefined;
  }

  /** Gives up a session that its server has not ended: any process may take it over. Never rejects. */
  async givenUp(target: string, id: string, file: string): Promise<void> {
    await this.#open.get(file);
    this.#open.delete(file);
    const { dir } = this.#parts;
    await this.#bounded(() => rename(join(dir, file), join(dir, this.#nameOf(target, id, NOBODY))));
  }

  /** Records that a session is not used here any more; the server may not know that. */
  released(file: string): void {
    this.#open.delete(file);
  }

  /** Removes a session that has ended at its server. Settles when its files are removed. Never rejects. */
  async ended(file: string): Promise<void> {
    await this.#open.get(file);
    this.#open.delete(file);
    await this.#bounded(() => unlink(join(this.#parts.dir, file)));
  }

  /**
   * Returns the sessions of a target that may be ended or taken over, newest first: no other running process has them,
   * and they are not open here. Never rejects; empty when the disk does not answer by the deadline.
   */
  async left(target: string, deadline: Deadline): Promise<readonly LeftSession[]> {
    const found: LeftSession[] = []; // bounded by: LEFT
    await this.#bounded(async () => {
      const all = await this.#named(target);
      const inUse = new Set(all.filter((one) => this.#isInUse(one)).map(({ digest }) => digest));
      const files = all.filter(({ digest }) => !inUse.has(digest)).map(({ file }) => file);
      for (const file of (await byAge(this.#parts.dir, files.slice(0, LEFT))).toReversed()) {
        const one = await this.#read(file);
        // Under another name a session that a running process has open would count as left.
        if (one && file.includes(`.${digestOf(one.id)}.`) && !this.#open.has(file)) found.push(one);
      }
    }, deadline);
    return found;
  }

  /** Returns a permit to wait for the late answer of one initialize; undefined when there are enough. Dispose of it. */
  waitLate(target: string): Disposable | undefined {
    const count = this.#late.get(target) ?? 0;
    if (count >= LATE) return undefined;
    this.#late.set(target, count + 1);
    return {
      [Symbol.dispose]: () => {
        const rest = (this.#late.get(target) ?? 1) - 1;
        if (rest > 0) this.#late.set(target, rest);
        else this.#late.delete(target);
      },
    };
  }

  /** Tells whether a running process has this session open, as far as the disk tells by the deadline. Never rejects. */
  async isInUse(target: string, id: string, deadline: Deadline): Promise<boolean> {
    const digest = digestOf(id);
    let isInUse = [...this.#open.keys()].some((file) => file.startsWith(target) && file.includes(`.${digest}.`));
    await this.#bounded(async () => {
      isInUse ||= (await this.#named(target)).some((one) => one.digest === digest && this.#isInUse(one));
    }, deadline);
    return isInUse;
  }

  #nameOf(target: string, id: string, opener = this.#parts.self): string {
    return `${target}.${this.#parts.slot}.${opener.pid}-${opener.startTicks}.${digestOf(id)}.json`;
  }

  /**
   * Rewrites a file in place: if the process is killed meanwhile, it has the old text, the new one, or one that is not
   * read.
   */
  async #rewrite(file: string, record: SessionRecord): Promise<void> {
    await using handle = await open(join(this.#parts.dir, file), IN_PLACE);
    const { bytesWritten } = await handle.write(recordText(record), 0);
    await handle.truncate(bytesWritten);
  }

  async #named(target: string): Promise<readonly Named[]> {
    return (await this.#all()).filter((one) => one.target === target);
  }

  #isInUse({ file, opener }: Named): boolean {
    if (this.#open.has(file)) return true;
    if (opener.pid === NOBODY.pid) return false;
    return !this.#isOwn(opener) && this.#parts.isRunning(opener);
  }

  #isOwn({ pid, startTicks }: ProcessIdentity): boolean {
    const { self } = this.#parts;
    return pid === self.pid && startTicks === self.startTicks;
  }

  async #read(file: string): Promise<LeftSession | undefined> {
    try {
      const path = join(this.#parts.dir, file);
      // Only plain files are opened: a pipe would block a thread for ever.
      const facts = await lstat(path);
      if (!facts.isFile() || facts.size > RECORD_BYTES) return undefined;
      const record = recordFrom(await readFile(path, 'utf8'));
      return record && { ...record, file };
    } catch {
      return undefined;
    }
  }

  /** Returns the files: twice as many as there may be, so that an excess is seen, and no more. */
  #all(): Promise<readonly Named[]> {
    return allNamed(this.#parts.dir, Math.max(LOOKED_AT, 2 * this.#parts.max()));
  }

  /** Removes sessions of this worker's earlier processes once the server has accepted a new one beside them. */
  async #tidy(target: string, deadline: Deadline): Promise<void> {
    const { dir, slot, max } = this.#parts;
    const all = await this.#all();
    const spare = all.filter((one) => !this.#isInUse(one));
    const excess = Math.min(spare.length, Math.max(0, all.length - max()));
    const files = spare.map(({ file }) => file);
    const oldest = excess === 0 ? [] : (await byAge(dir, files)).slice(0, excess);
    const own = spare.filter((one) => one.target === target && one.slot === slot).map(({ file }) => file);
    for (const file of new Set([...own, ...oldest])) {
      if (deadline.ended !== undefined) return;
      if (!this.#open.has(file)) await unlink(join(dir, file)).catch(() => {});
    }
  }

  async #bounded(work: (deadline: Deadline) => Promise<void>, until?: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    using own = until ? until.sooner(WRITE_MS) : runtime.deadline(WRITE_MS);
    try {
      await runtime.waits.for(work(own), { label: 'snapshot-write', owner: 'sessions', deadline: own });
    } catch {
      // A missing record costs a server that allows one session a longer outage after a crash; nothing waits for it.
    }
  }
}

/** Returns the digest of an id, as it is in the name of its file. */
function digestOf(id: string): string {
  return sha256(id).slice(0, 16);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

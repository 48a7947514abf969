/**
 * One place under the guard, and the processes that hold it one after the other: judged by `verdict.ts`, replaced when they are gone or asked.
 * Promises: a dead one is forked again at once, with growing rests after too many deaths in a minute, for ever; one that shall be replaced
 * serves until its heir does; one that is above the memory ceiling is replaced like that; nothing here waits for a process without a bound.
 */
import type { Socket } from 'node:net';
import { setTimeout as restFor } from 'node:timers/promises';
import type { Limits } from '../config/limits.ts';
import type { GuardWord, ProcessWord } from '../kernel/supervisor-messages.ts';
import { predecessorSocketName, socketName } from '../kernel/supervisor-messages.ts';
import type { Door, Taker } from './connection-dispatcher.ts';
import { clearSockets, EXIT_HOPELESS, writeEvidence } from './host.ts';
import { MemoryCeiling, Rests, verdictOn } from './liveness-policy.ts';
import { type Ending, type GuardLog, Life } from './process-instance.ts';

export interface MemberOptions {
  readonly role: 'hub' | 'control';
  readonly slot: number;
  readonly entry: string;
  /** Asked for each life: the configuration may have come meanwhile. */
  readonly execArgv: () => readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Start of the mark of all descendants of this data directory. */
  readonly markRoot: string;
  readonly limits: Limits;
  /** Resident memory above which it is replaced, bytes. */
  readonly ceilingBytes: () => number;
  /** Where a hub's connections come from. */
  readonly door: Door | undefined;
  readonly log: GuardLog;
  /** A new life of it has begun. */
  readonly forked: () => void;
  readonly heard: (word: ProcessWord) => void;
  readonly ready: () => void;
  readonly gone: (code: number | null) => void;
}

/** Longest boot without a beat: reading the world, opening the store (control may wait for it for 30 s). */
const BOOT_MS = { hub: 20_000, control: 40_000 } as const;
/** An heir that does not serve by then is given up: boot, servers' start, and room. */
const HEIR_MS = 40_000;
/** What is on its way to the old one is taken by it first. */
const TAKE_MS = 1000;

export class Member implements Taker {
  readonly #options: MemberOptions;
  readonly who: string;
  readonly slot: number;
  readonly #rests: Rests;
  readonly #ceiling = new MemoryCeiling();
  #life: Life | undefined;
  /** Booting beside the one that serves. */
  #heir: Life | undefined;
  /** Drains beside its heir. */
  #leaving: Life | undefined;
  /** The name of its socket: the replacement gave it that, and the next one needs it when the replacement dies. */
  #leavingSocket: string | undefined;
  #replaced: PromiseWithResolvers<boolean> | undefined;
  #instances = 0;
  #stopping = false;
  #retired = false;
  #respawn: NodeJS.Timeout | undefined;
  /** Some instance of it has been ready: what it is told to do can work. */
  wasReady = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#rests = new Rests(options.limits);
    this.slot = options.slot;
    this.who = `${options.role}-${options.slot}`;
  }

  get pid(): number | undefined {
    return this.#life?.pid;
  }

  get isReady(): boolean {
    return this.#life?.isReady === true;
  }

  get alive(): boolean {
    return this.#lives().length > 0;
  }

  get isOpen(): boolean {
    return this.#life?.isOpen === true;
  }

  fork(): void {
    const { role, slot, runDir } = this.#options;
    const socket = socketName(role, slot);
    clearSockets(runDir, role === 'hub' ? [socket, `front-${slot}.sock`] : [socket]);
    this.#life = this.#born(false);
    this.#options.forked();
  }

  /** Sends `word` to every process of this place: the one that serves, its replacement, and the one that drains. */
  say(word: GuardWord): void {
    for (const life of this.#lives()) life.say(word);
  }

  send(word: GuardWord, socket: Socket, sent: (fault: Error | null) => void): void {
    if (this.#life) this.#life.send(word, socket, sent);
    else sent(new Error('not connected'));
  }

  kill(signal: NodeJS.Signals): void {
    for (const life of this.#lives()) life.kill(signal);
  }

  /** It goes on, but its death is the last: the guard is stopping. */
  retire(): void {
    this.#retired = true;
    clearTimeout(this.#respawn);
  }

  /** It shall end and not come back; `kill` = at once, for it has nothing to drain yet. Asked once; again changes nothing. */
  end(how: 'drain' | 'kill' = 'drain'): void {
    if (this.#stopping) return;
    this.#stopping = true;
    clearTimeout(this.#respawn);
    this.#heir?.kill('SIGKILL');
    if (this.#life && how === 'kill') this.#life.kill('SIGKILL');
    else if (this.#life) this.#life.askToEnd();
    else if (!this.alive) this.#options.gone(0);
  }

  /** An heir boots beside it, takes over when it serves, and then the old one drains. False = it did not come to that; the old one goes on. */
  replace(): Promise<boolean> {
    if (this.#replaced) return this.#replaced.promise;
    if (!this.#life?.isReady || this.#life.condemned !== undefined || this.#leaving || this.#stopping)
      return Promise.resolve(false);
    this.#replaced = Promise.withResolvers<boolean>();
    const heir = this.#born(true);
    this.#heir = heir;
    this.#options.forked();
    setTimeout(() => {
      if (this.#heir === heir) heir.kill('SIGKILL');
    }, HEIR_MS).unref();
    return this.#replaced.promise;
  }

  /** Called once a second. `lateMs` = how late the guard itself is. */
  look(lateMs: number): void {
    const life = this.#life;
    if (!life?.watch) return;
    if (life.isReady) life.watch.look();
    if (life.condemned !== undefined) return;
    const { role, limits, door } = this.#options;
    const seen = life.watch.observe(lateMs, door?.untakenMs(this.slot) ?? 0);
    const verdict = verdictOn(seen, { ...limits, bootMs: BOOT_MS[role] });
    // One that ends anyway may be slow; one that cannot hear is killed then too.
    if (verdict.act === 'none' || (verdict.act === 'end' && this.#stopping)) return this.#weigh(life);
    door?.left(this.slot);
    life.condemn(verdict);
  }

  /** A leak is answered before the kernel or the collector answers it. */
  #weigh(life: Life): void {
    const { log, ceilingBytes, role } = this.#options;
    const most = ceilingBytes();
    if (role !== 'hub' || !life.isReady || !this.#ceiling.isExceeded(life.rssBytes, most, performance.now())) return;
    const mb = (bytes: number): number => Math.round(bytes / 2 ** 20);
    const what = `${this.who} holds ${mb(life.rssBytes)} MB; its ceiling is ${mb(most)} MB`;
    log('error', 'memory-ceiling-reached', `${what}: a replacement is started, then it drains`, { pid: life.pid });
    void this.replace();
  }

  #lives(): Life[] {
    return [this.#life, this.#heir, this.#leaving].filter((life) => life !== undefined);
  }

  #born(isHeir: boolean): Life {
    const { role, slot, entry, env, execArgv, dataDir, runDir, limits, log, markRoot } = this.#options;
    this.#instances += 1;
    const mark = `${markRoot}${process.pid}.${this.who}.${String(this.#instances).padStart(6, '0')}`;
    return new Life({
      role,
      slot,
      who: this.who,
      entry,
      execArgv: execArgv(),
      env,
      dataDir,
      runDir,
      mark,
      isHeir,
      leaving: this.#leavingSocket,
      limits,
      log,
      heard: (life, word) => this.#hear(life, word),
      ended: (life, ending) => this.#ended(life, ending),
    });
  }

  #hear(life: Life, word: ProcessWord): void {
    const { door, ready, heard } = this.#options;
    if (word.t === 'taken') return life === this.#life ? door?.taken(this.slot, word.n) : undefined;
    if (word.t !== 'ready') return heard(word);
    life.isReady = true;
    life.watch?.readied();
    if (this.#stopping) return;
    if (life === this.#heir) return void this.#takeOver(life);
    if (life !== this.#life) return;
    this.wasReady = true;
    door?.opened(this);
    ready();
  }

  async #takeOver(heir: Life): Promise<void> {
    const { door, limits, log } = this.#options;
    door?.left(this.slot);
    const untilMs = performance.now() + TAKE_MS;
    while ((door?.untakenMs(this.slot) ?? 0) > 0 && performance.now() < untilMs) await restFor(10);
    // It may have died, or the guard may be stopping.
    if (this.#heir !== heir || this.#stopping) return;
    door?.closed(this.slot);
    const old = this.#life;
    this.#heir = undefined;
    this.#life = heir;
    this.wasReady = true;
    this.#ceiling.reset();
    door?.opened(this);
    const [from, to] = [old?.pid ?? 'none', heir.pid];
    log('info', 'process-replaced', `${this.who}: pid ${to} serves in the place of pid ${from}`, { pid: to });
    if (old && old.condemned === undefined) {
      this.#leaving = old;
      this.#leavingSocket = heir.pid === undefined ? undefined : predecessorSocketName(heir.pid);
      old.say({ t: 'leave' });
      old.strikeLater(limits.killMs);
    }
    this.#settle(true);
  }

  #settle(wasReplaced: boolean): void {
    this.#replaced?.resolve(wasReplaced);
    this.#replaced = undefined;
  }

  #ended(life: Life, ending: Ending): void {
    const { gone, door, log } = this.#options;
    if (life === this.#leaving) {
      this.#leaving = undefined;
      this.#leavingSocket = undefined;
      return this.#stopping ? gone(null) : undefined;
    }
    if (life === this.#heir) {
      this.#heir = undefined;
      this.#settle(false);
      if (this.#stopping) return gone(null);
      log('error', 'replacement-failed', `the replacement of ${this.who} is gone before it served: ${ending.how}`);
      // The one that it should have replaced died meanwhile.
      if (!this.#life) this.#died(life, ending);
      return;
    }
    if (life !== this.#life) return;
    this.#life = undefined;
    door?.closed(this.slot);
    gone(ending.code ?? null);
    const hopeless = ending.code === EXIT_HOPELESS && !this.wasReady;
    if (this.#stopping || this.#retired || hopeless) return;
    // Its heir is on the way already.
    if (this.#heir)
      log('error', 'process-died', `${this.who} is gone: ${life.condemned ?? ending.how}; its heir follows`);
    else this.#died(life, ending);
  }

  /** Not asked for: told, put on record, and tried again. */
  #died(life: Life, { how, ...more }: Ending): void {
    const { log, dataDir, limits } = this.#options;
    const { pid } = life;
    const why = life.condemned ?? how;
    const nowMs = performance.now();
    const restMs = this.#rests.next(nowMs, nowMs - life.bornMs, Math.random());
    const next = restMs > 0 ? `the next one comes in ${restMs} ms` : 'the next one is started';
    log('error', 'process-died', `${this.who} (pid ${pid ?? 'none'}) is gone: ${why}; ${next}`, { pid, restMs });
    if (this.#rests.row === 1) {
      const loop = `${this.who} dies again and again (more than ${limits.restarts} times within a minute)`;
      log('error', 'crash-loop-found', `${loop}: there are rests of up to 30 s now until one life lasts a minute`);
    }
    if (life.condemned === undefined) {
      const lastBeat = life.watch?.lastBeat;
      void writeEvidence(dataDir, this.who, {
        at: new Date().toISOString(),
        process: this.who,
        pid,
        why,
        ...more,
        lastBeat,
      });
    }
    this.#respawn = setTimeout(() => this.fork(), restMs);
  }
}

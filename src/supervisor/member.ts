/**
 * One process under the guard: forked, judged by `verdict.ts` from what `sight.ts` sees, replaced when it is gone.
 * Promises: a dead one is forked again at once, with growing rests after too many deaths in a minute, for ever; before a kill the evidence is on
 * disk (or 300 ms have passed); its descendants are swept after its death; nothing here waits for it without a bound.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import { DESCENDANT_MARK, GUARD_ENV, type GuardWord, type ProcessWord, socketName } from '../kernel/guard-wire.ts';
import { sweepMarked } from '../kernel/sweep.ts';
import type { Door, Taker } from './door.ts';
import { clearSockets, EXIT_HOPELESS, guiltyStack, writeEvidence } from './ground.ts';
import { processFacts, sleepsIn, Watch } from './sight.ts';
import { Rests, type Verdict, verdictOn } from './verdict.ts';

export interface MemberOptions {
  readonly role: 'hub' | 'control';
  readonly slot: number;
  readonly entry: string;
  readonly execArgv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Start of the mark of all descendants of this data directory. */
  readonly markRoot: string;
  readonly limits: Limits;
  /** Where a hub's connections come from. */
  readonly door: Door | undefined;
  readonly log: (level: 'info' | 'warn' | 'error', event: string, msg: string, more?: object) => void;
  /** A new life of it has begun. */
  readonly forked: () => void;
  readonly heard: (word: ProcessWord) => void;
  readonly ready: () => void;
  readonly gone: (code: number | null) => void;
}

/** Longest boot without a beat: reading the world, opening the store (control may wait for it for 30 s). */
const BOOT_MS = { hub: 20_000, control: 40_000 } as const;
/** Budget of a process that beats but does not work. */
const END_GRACE_MS = 5000;
/** Stack and kernel state are gathered for at most this long before a kill. */
const EVIDENCE_MS = 300;
/** A dead process's channel is read to its end for at most this long. */
const LAST_WORDS_MS = 100;

export class Member implements Taker {
  readonly #options: MemberOptions;
  readonly who: string;
  readonly slot: number;
  #child: ChildProcess | undefined;
  #watch: Watch | undefined;
  #mark = '';
  #instances = 0;
  #bornMs = 0;
  readonly #rests: Rests;
  #condemned: string | undefined;
  #stopping = false;
  #retired = false;
  #replacing = false;
  #respawn: NodeJS.Timeout | undefined;
  isReady = false;
  /** Some instance of it has been ready: what it is told to do can work. */
  wasReady = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#rests = new Rests(options.limits);
    this.slot = options.slot;
    this.who = `${options.role}-${options.slot}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get alive(): boolean {
    return this.#child !== undefined;
  }

  /** Its channel is open. */
  get isOpen(): boolean {
    return this.#child?.connected === true;
  }

  fork(): void {
    const { role, slot, entry, env, execArgv, markRoot, runDir, limits } = this.#options;
    this.#instances += 1;
    this.#bornMs = performance.now();
    this.#mark = `${markRoot}${process.pid}.${this.who}.${String(this.#instances).padStart(6, '0')}`;
    this.#condemned = undefined;
    const socket = socketName(role, slot);
    clearSockets(runDir, role === 'hub' ? [socket, `front-${slot}.sock`] : [socket]);
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...execArgv, entry], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: { ...env, [GUARD_ENV.role]: role, [GUARD_ENV.slot]: String(slot), [DESCENDANT_MARK]: this.#mark },
      });
    } catch (fault) {
      this.#died(undefined, `it cannot be started: ${(fault as Error).message}`, {});
      return;
    }
    this.#child = child;
    if (child.pid !== undefined) this.#watch = new Watch(child.pid, { socketPath: join(runDir, socket), limits });
    child.on('message', (word: ProcessWord) => this.#hear(child, word));
    child.on('error', (fault) => {
      // Never born: no exit will be told. (A living one's error is a signal that could not be sent.)
      if (child.pid === undefined) this.#exited(child, `it cannot be started: ${fault.message}`, {});
    });
    child.once('exit', (code, signal) =>
      whenHeardOut(child, () => this.#exited(child, `it ended with ${signal ?? `code ${code}`}`, { code, signal })),
    );
    this.#options.forked();
  }

  say(word: GuardWord): void {
    this.send(word, undefined, () => {});
  }

  send(word: GuardWord, socket: Socket | undefined, sent: (fault: Error | null) => void): void {
    const child = this.#child;
    if (!child?.connected) return sent(new Error('not connected'));
    // keepOpen: the copy here is closed when the hub says that it has the connection.
    child.send(word, socket, { keepOpen: true }, sent);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
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
    if (this.#child && how === 'kill') this.kill('SIGKILL');
    else if (this.#child) this.#askToEnd();
    else this.#options.gone(0);
  }

  /** It shall drain, and a new one take its place; killed when it takes longer than `killMs`. */
  replace(): void {
    const child = this.#child;
    if (!child || this.#replacing || this.#condemned !== undefined) return;
    this.#replacing = true;
    this.#options.door?.left(this.slot);
    this.#askToEnd();
    this.#strikeLater(child, this.#options.limits.killMs);
  }

  /** A signal and not a word: the channel may be full, and both would be two requests. Windows has no such signals. */
  #askToEnd(): void {
    if (process.platform === 'win32') this.say({ t: 'drain' });
    else this.kill('SIGTERM');
  }

  /** Called once a second. `lateMs` = how late the guard itself is. */
  look(lateMs: number): void {
    const child = this.#child;
    if (!child || !this.#watch) return;
    if (this.isReady) this.#watch.look();
    if (this.#condemned !== undefined) return;
    const { role, limits, door } = this.#options;
    const { beatMs, beatCpuMs, handoverMs } = limits;
    const seen = this.#watch.observe(lateMs, door?.untakenMs(this.slot) ?? 0);
    const verdict = verdictOn(seen, { beatMs, beatCpuMs, handoverMs, bootMs: BOOT_MS[role] });
    if (verdict.act === 'none') return;
    // One that ends anyway may be slow; one that cannot hear is killed then too.
    if (verdict.act === 'end' && (this.#stopping || this.#replacing)) return;
    this.#condemn(child, verdict);
  }

  #condemn(child: ChildProcess, verdict: Exclude<Verdict, { act: 'none' }>): void {
    const { act, why } = verdict;
    this.#condemned = why;
    this.#options.door?.left(this.slot);
    const pid = child.pid ?? -1;
    void Promise.race([this.#evidence(pid, why), later(EVIDENCE_MS)]).then((evidence) => {
      if (this.#child !== child) return;
      const what = `${this.who} (pid ${pid}) is ${act === 'kill' ? 'killed' : 'ended'}: ${why}`;
      this.#options.log('error', 'process-condemned', what, { evidence, pid });
      if (act === 'kill') return void child.kill('SIGKILL');
      this.#askToEnd();
      this.#strikeLater(child, END_GRACE_MS);
    });
  }

  #strikeLater(child: ChildProcess, ms: number): void {
    setTimeout(() => {
      if (this.#child === child) child.kill('SIGKILL');
    }, ms).unref();
  }

  async #evidence(pid: number, why: string): Promise<string | undefined> {
    const { dataDir, runDir } = this.#options;
    const stack = await guiltyStack(runDir, this.who, pid);
    const found = {
      at: new Date().toISOString(),
      process: this.who,
      pid,
      why,
      facts: processFacts(pid),
      sleepsIn: sleepsIn(pid),
      lastBeat: this.#watch?.lastBeat,
      sinceBeatMs: Math.round(this.#watch?.sinceBeatMs ?? 0),
      guiltyStack: stack?.split('\n'),
    };
    return writeEvidence(dataDir, this.who, found);
  }

  #hear(child: ChildProcess, word: ProcessWord): void {
    if (this.#child !== child) return;
    const { door, ready, heard } = this.#options;
    if (word.t === 'taken') return door?.taken(this.slot, word.n);
    if (word.t !== 'ready') return heard(word);
    this.isReady = true;
    this.wasReady = true;
    this.#watch?.readied();
    if (this.#stopping) return;
    door?.opened(this);
    ready();
  }

  #exited(child: ChildProcess, how: string, ending: { code?: number | null; signal?: string | null }): void {
    if (this.#child !== child) return;
    const { log, gone, door } = this.#options;
    this.#child = undefined;
    this.isReady = false;
    this.#watch?.close();
    const { lastBeat } = this.#watch ?? {};
    this.#watch = undefined;
    void sweepMarked(this.#mark).then((pids) => {
      if (pids.length > 0)
        log('warn', 'children-swept', `${pids.length} processes of the late ${this.who} were ended`, { pids });
    });
    const hopeless = ending.code === EXIT_HOPELESS && !this.wasReady;
    door?.closed(this.slot);
    gone(ending.code ?? null);
    if (this.#stopping || this.#retired || hopeless) return;
    const asked = this.#replacing;
    this.#replacing = false;
    if (asked) this.#respawn = setTimeout(() => this.fork(), 0);
    else this.#died(child.pid, this.#condemned ?? how, { ...ending, lastBeat });
  }

  /** Not asked for: told, put on record, and tried again. */
  #died(pid: number | undefined, why: string, more: object): void {
    const { log, dataDir, limits } = this.#options;
    const nowMs = performance.now();
    const restMs = this.#rests.next(nowMs, nowMs - this.#bornMs, Math.random());
    const next = restMs > 0 ? `the next one comes in ${restMs} ms` : 'the next one is started';
    log('error', 'process-died', `${this.who} (pid ${pid ?? 'none'}) is gone: ${why}; ${next}`, { pid, restMs });
    if (this.#rests.row === 1) {
      const loop = `${this.who} dies again and again (more than ${limits.restarts} times within a minute)`;
      log('error', 'crash-loop-found', `${loop}: there are rests of up to 30 s now until one life lasts a minute`);
    }
    if (this.#condemned === undefined)
      void writeEvidence(dataDir, this.who, { at: new Date().toISOString(), process: this.who, pid, why, ...more });
    this.#respawn = setTimeout(() => this.fork(), restMs);
  }
}

/** What the dead one said last (`taken`) may still be in its channel; a connection that it took must not be handed out again. */
function whenHeardOut(child: ChildProcess, then: () => void): void {
  if (!child.connected) return then();
  const limit = setTimeout(over, LAST_WORDS_MS);
  child.once('disconnect', over);
  function over(): void {
    clearTimeout(limit);
    child.off('disconnect', over);
    then();
  }
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

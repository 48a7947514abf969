/**
 * One process from its fork to its end: its channel, what is seen of it, its death sentence with the evidence, and its last words.
 * Promises: before a kill the evidence is on disk (or 300 ms have passed); its descendants are swept after its death; what it said last is
 * heard before its end is told; nothing here waits for it without a bound.
 * Does not: decide who follows (`member.ts`) or judge (`verdict.ts`).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Limits } from '../config/limits.ts';
import {
  DESCENDANT_MARK,
  GUARD_ENV,
  type GuardWord,
  loopSocketName,
  type ProcessWord,
  socketName,
} from '../kernel/supervisor-messages.ts';
import { sweepMarked } from '../kernel/sweep.ts';
import { clearSockets, guiltyStack, writeEvidence } from './host.ts';
import type { Verdict } from './liveness-policy.ts';
import { processFacts, sleepsIn, Watch } from './process-probe.ts';

export type GuardLog = (level: 'info' | 'warn' | 'error', event: string, msg: string, more?: object) => void;

/**
 * For glibc's allocator: large buffers go back to the system when they are freed. By itself it raises that bound to what was freed last (up to
 * 32 MB), and from then on such buffers leave holes; and each thread gets an arena of its own. Measured in two soaks of eight minutes side by
 * side: 42 and 26 MB more resident memory at the end, with the same heap. Whoever sets these variables wins.
 */
const ALLOCATOR_ENV = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

export interface LifeOptions {
  readonly role: 'hub' | 'control';
  readonly slot: number;
  /** `hub-1`: for people. */
  readonly who: string;
  readonly entry: string;
  readonly execArgv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDir: string;
  readonly runDir: string;
  /** Its own, also in the environment of all that descend from it. */
  readonly mark: string;
  /** It takes the place of one that still serves: it says `ready` when its servers are there. */
  readonly isHeir: boolean;
  /** Socket name of a worker of this place that still drains; undefined = there is none. */
  readonly leaving: string | undefined;
  readonly limits: Limits;
  readonly log: GuardLog;
  readonly heard: (life: Life, word: ProcessWord) => void;
  /** Told once, also when it was never born. */
  readonly ended: (life: Life, ending: Ending) => void;
}

export interface Ending {
  readonly how: string;
  readonly code?: number | null;
  readonly signal?: string | null;
}

/** Stack and kernel state are gathered for at most this long before a kill. */
const EVIDENCE_MS = 300;
/** Budget of a process that beats but does not work. */
const END_GRACE_MS = 5000;
/** A dead process's channel is read to its end for at most this long. */
const LAST_WORDS_MS = 100;

export class Life {
  readonly #options: LifeOptions;
  readonly #child: ChildProcess | undefined;
  readonly watch: Watch | undefined;
  readonly bornMs = performance.now();
  /** Why it was condemned. */
  condemned: string | undefined;
  isReady = false;
  #isOver = false;

  constructor(options: LifeOptions) {
    this.#options = options;
    const { role, slot, entry, env, execArgv, mark, runDir, limits, isHeir, leaving } = options;
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, [...execArgv, entry], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        env: {
          ...ALLOCATOR_ENV,
          ...env,
          [GUARD_ENV.role]: role,
          [GUARD_ENV.slot]: String(slot),
          [DESCENDANT_MARK]: mark,
          ...(isHeir ? { [GUARD_ENV.heir]: '1' } : {}),
          ...(leaving === undefined ? {} : { [GUARD_ENV.leaving]: leaving }),
        },
      });
    } catch (fault) {
      this.#child = undefined;
      this.watch = undefined;
      queueMicrotask(() => this.#end({ how: `it cannot be started: ${(fault as Error).message}` }));
      return;
    }
    this.#child = child;
    this.watch =
      child.pid === undefined
        ? undefined
        : new Watch(child.pid, {
            socketPath: join(runDir, socketName(role, slot)),
            loopSocketPath: join(runDir, loopSocketName(child.pid)),
            limits,
          });
    child.on('message', (word: ProcessWord) => {
      if (!this.#isOver) options.heard(this, word);
    });
    child.on('error', (fault) => {
      // Never born: no exit will be told. (A living one's error is a signal that could not be sent.)
      if (child.pid === undefined) this.#end({ how: `it cannot be started: ${fault.message}` });
    });
    child.once('exit', (code, signal) =>
      whenHeardOut(child, () => this.#end({ how: `it ended with ${signal ?? `code ${code}`}`, code, signal })),
    );
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Its channel is open. */
  get isOpen(): boolean {
    return this.#child?.connected === true;
  }

  get rssBytes(): number {
    return this.pid === undefined ? 0 : (processFacts(this.pid)?.rssBytes ?? 0);
  }

  say(word: GuardWord): void {
    this.send(word, undefined, () => {});
  }

  send(word: GuardWord, socket: Socket | undefined, sent: (fault: Error | null) => void): void {
    if (!this.#child?.connected) return sent(new Error('not connected'));
    // keepOpen: the copy here is closed when the hub says that it has the connection.
    this.#child.send(word, socket, { keepOpen: true }, sent);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** A signal and not a word: the channel may be full, and both would be two requests. Windows has no such signals. */
  askToEnd(): void {
    if (process.platform === 'win32') this.say({ t: 'drain' });
    else this.kill('SIGTERM');
  }

  strikeLater(ms: number): void {
    setTimeout(() => {
      if (!this.#isOver) this.kill('SIGKILL');
    }, ms).unref();
  }

  condemn({ act, why }: Exclude<Verdict, { act: 'none' }>): void {
    this.condemned = why;
    const pid = this.pid ?? -1;
    void Promise.race([this.#evidence(pid, why), later(EVIDENCE_MS)]).then((evidence) => {
      if (this.#isOver) return;
      const what = `${this.#options.who} (pid ${pid}) is ${act === 'kill' ? 'killed' : 'ended'}: ${why}`;
      this.#options.log('error', 'process-condemned', what, { evidence, pid });
      if (act === 'kill') return this.kill('SIGKILL');
      this.askToEnd();
      this.strikeLater(END_GRACE_MS);
    });
  }

  async #evidence(pid: number, why: string): Promise<string | undefined> {
    const { dataDir, runDir, who } = this.#options;
    const stack = await guiltyStack(runDir, who, pid);
    return writeEvidence(dataDir, who, {
      at: new Date().toISOString(),
      process: who,
      pid,
      why,
      facts: processFacts(pid),
      sleepsIn: sleepsIn(pid),
      lastBeat: this.watch?.lastBeat,
      sinceBeatMs: Math.round(this.watch?.sinceBeatMs ?? 0),
      guiltyStack: stack?.split('\n'),
    });
  }

  #end(ending: Ending): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.isReady = false;
    this.watch?.close();
    const { mark, who, log, ended, runDir } = this.#options;
    if (this.pid !== undefined) clearSockets(runDir, [loopSocketName(this.pid)]);
    void sweepMarked(mark).then((pids) => {
      if (pids.length > 0)
        log('warn', 'children-swept', `${pids.length} processes of the late ${who} were ended`, { pids });
    });
    ended(this, ending);
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

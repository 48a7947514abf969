/**
 * A server that the hub runs and that speaks HTTP: a child with a free port, ready when the port accepts connections.
 * The HTTP transport puts the port into the URL.
 * Guarantees: `start` ends by its deadline and tells "could not be started", "ended" and "does not listen" apart;
 * stdout and stderr are drained; an exit after the start calls `exited` once; `stop` works as for stdio servers.
 */
import { connect, createServer } from 'node:net';
import { HubError } from '../../model/errors.ts';
import type { LinkPhase } from '../../model/events.ts';
import { sentence } from '../../model/sentence.ts';
import type { ProcessSpec } from '../../model/snapshot.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import { type ChildDeps, exitFault, prepareChild } from '../prepare/prepare.ts';
import { isPortTaken } from '../proc/port-owner.ts';
import { type Child, startChild } from './child.ts';

export interface LaunchedEvents {
  said(line: string): void;
  /** It has written output. */
  alive(): void;
  phase(phase: LinkPhase): void | Promise<void>;
  /** Its process ended after `start` had succeeded. Called once; not after `stop`. */
  exited(fault: HubError): void;
}

const HOST = '127.0.0.1';
const RETRY_MS = 50;
const TRY_MS = 1000;

export class Launched {
  readonly #parts: ChildDeps & { readonly events: LaunchedEvents };
  #child: Child | undefined;
  #starting: Deadline | undefined;
  #installKey: string | undefined;
  #listens = false;
  #over = false;
  #ended: HubError | undefined;

  constructor(parts: ChildDeps & { readonly events: LaunchedEvents }) {
    this.#parts = parts;
  }

  /** Rejects with HubError `upstream-spawn`, `upstream-exit`, `upstream-connect` or `server-starting`. Call it once. */
  async start(deadline: Deadline): Promise<{ port: number }> {
    const { spec, runtime, events } = this.#parts;
    using own = deadline.sooner(deadline.remainingMs());
    this.#starting = own;
    if (this.#over) throw new HubError('server-down', { message: `${spec.slug} was stopped.` });
    const port = await runtime.waits.for(freePort(), { label: 'upstream-start', owner: spec.slug, deadline: own });
    const deps = { ...this.#parts, process: withPort(this.#parts.process, port) };
    const steps = { stdin: 'ignore', stdout: 'text', phase: events.phase, said: events.said } as const;
    const prepared = await prepareChild(deps, steps, own);
    this.#installKey = prepared.installKey;
    const exited = (exit: { code: number | null; signal: string | null }): void => {
      this.#ended = exitFault(spec.slug, exit, { lastWords: started.lastWords(), env: this.#parts.process.env });
      if (!this.#listens) own.end('stopped');
      else if (!this.#over) events.exited(this.#ended);
    };
    const started = await startChild(prepared.plan, { said: events.said, alive: events.alive, exited }, own);
    this.#child = started;
    if (this.#over) started.kill('SIGKILL');
    await this.#untilListening(port, own);
    await this.#assertOwnPort(port, own);
    this.#listens = true;
    return { port };
  }

  async stop(deadline: Deadline): Promise<void> {
    const { installLock } = this.#parts;
    this.#over = true;
    this.#starting?.end('stopped');
    if (this.#installKey !== undefined && !this.#listens) installLock.doubt(this.#installKey);
    await this.#child?.stop(() => this.#child?.kill('SIGTERM'), deadline);
  }

  cpuMs(): number | undefined {
    return this.#child?.cpuMs();
  }

  cpuReadMs(): number | undefined {
    return this.#child?.cpuReadMs();
  }

  stderrTail(): readonly string[] {
    return this.#child?.tail() ?? [];
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async #untilListening(port: number, deadline: Deadline): Promise<void> {
    const { spec } = this.#parts;
    while (deadline.ended === undefined) {
      using once = deadline.sooner(TRY_MS);
      if (await takesConnections(port, once)) return;
      await this.#restFor(RETRY_MS, deadline);
    }
    if (this.#ended) throw this.#ended;
    if (this.#over) throw new HubError('server-down', { message: `${spec.slug} was stopped while it started.` });
    throw new HubError('upstream-connect', {
      message: `${spec.slug} runs but does not listen on ${HOST}:${port}. It must listen on the port in PORT.${lastLineWords(this.#child?.tail() ?? [])}`,
      detail: { server: spec.slug, phase: 'start', setting: 'startMs', operator: { port } },
    });
  }

  /**
   * Another local user may have taken the port since it was found free; that process must not get the server's headers.
   */
  async #assertOwnPort(port: number, deadline: Deadline): Promise<void> {
    const { runtime, spec } = this.#parts;
    const uid = process.getuid?.();
    if (uid === undefined) return;
    const looking = isPortTaken(port, uid);
    const isTaken = await runtime.waits.for(looking, { label: 'upstream-start', owner: spec.slug, deadline });
    if (this.#ended) throw this.#ended;
    if (!isTaken) return;
    throw new HubError('upstream-connect', {
      message: `A process of another user listens on ${HOST}:${port}, the port that ${spec.slug} was given. The next start uses another port.`,
      detail: { server: spec.slug, phase: 'start', operator: { port } },
    });
  }

  #restFor(ms: number, deadline: Deadline): Promise<void> {
    const { runtime } = this.#parts;
    return new Promise((resolve) => {
      const timer = runtime.timers.after(ms, () => {
        forget();
        resolve();
      });
      const forget = deadline.onEnd(() => {
        timer[Symbol.dispose]();
        resolve();
      });
    });
  }
}

function lastLineWords(tail: readonly string[]): string {
  const last = tail.at(-1);
  return last === undefined ? ' It has no output.' : ` Its last line: ${sentence(last)}`;
}

/** Placeholder for the port in arguments and variables. */
const PORT_IN_TEXT = /\$\{PORT\}/g;

function withPort(process: ProcessSpec, port: number): ProcessSpec {
  const put = (text: string) => text.replace(PORT_IN_TEXT, String(port));
  const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, put(value)]));
  return { ...process, args: process.args.map(put), env: { ...env, PORT: String(port) } };
}

/** Returns a port that was free a moment ago; who listens on it is checked before anything is sent there. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

function takesConnections(port: number, deadline: Deadline): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: HOST });
    const done = (taken: boolean) => {
      forget();
      socket.destroy();
      resolve(taken);
    };
    const forget = deadline.onEnd(() => done(false));
    socket.once('connect', () => done(true));
    socket.once('error', () => done(false));
  });
}

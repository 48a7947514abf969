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

export interface Launched {
  /** Rejects with HubError `upstream-spawn`, `upstream-exit`, `upstream-connect` or `server-starting`. Call it once. */
  start(deadline: Deadline): Promise<{ readonly port: number }>;
  stop(deadline: Deadline): Promise<void>;
  cpuMs(): number | undefined;
  cpuReadMs(): number | undefined;
  stderrTail(): readonly string[];
  readonly pid: number | undefined;
}

const HOST = '127.0.0.1';
const RETRY_MS = 50;
const TRY_MS = 1000;

export function createLaunched(options: ChildDeps & { readonly events: LaunchedEvents }): Launched {
  const { runtime, spec, events, installLock } = options;
  let child: Child | undefined;
  let starting: Deadline | undefined;
  let installKey: string | undefined;
  let listens = false;
  let over = false;
  let ended: HubError | undefined;

  async function start(deadline: Deadline): Promise<{ port: number }> {
    using own = deadline.sooner(deadline.remainingMs());
    starting = own;
    if (over) throw new HubError('server-down', { message: `${spec.slug} was stopped.` });
    const port = await runtime.waits.for(freePort(), { label: 'upstream-start', owner: spec.slug, deadline: own });
    const deps = { ...options, process: withPort(options.process, port) };
    const steps = { stdin: 'ignore', stdout: 'text', phase: events.phase, said: events.said } as const;
    const prepared = await prepareChild(deps, steps, own);
    installKey = prepared.installKey;
    const started = await startChild(prepared.plan, { said: events.said, alive: events.alive, exited: died }, own);
    child = started;
    if (over) started.kill('SIGKILL');
    await untilListening(port, own);
    await assertOwnPort(port, own);
    listens = true;
    return { port };

    function died(exit: { code: number | null; signal: string | null }): void {
      ended = exitFault(spec.slug, exit, { lastWords: started.lastWords(), env: options.process.env });
      if (!listens) own.end('stopped');
      else if (!over) events.exited(ended);
    }
  }

  async function untilListening(port: number, deadline: Deadline): Promise<void> {
    while (deadline.ended === undefined) {
      using once = deadline.sooner(TRY_MS);
      if (await takesConnections(port, once)) return;
      await restFor(RETRY_MS, deadline);
    }
    if (ended) throw ended;
    if (over) throw new HubError('server-down', { message: `${spec.slug} was stopped while it started.` });
    throw new HubError('upstream-connect', {
      message: `${spec.slug} runs but does not listen on ${HOST}:${port}. It must listen on the port in PORT.${lastLineWords(child?.tail() ?? [])}`,
      detail: { server: spec.slug, phase: 'start', setting: 'startMs', operator: { port } },
    });
  }

  /**
   * Another local user may have taken the port since it was found free; that process must not get the server's headers.
   */
  async function assertOwnPort(port: number, deadline: Deadline): Promise<void> {
    const uid = process.getuid?.();
    if (uid === undefined) return;
    const looking = isPortTaken(port, uid);
    const isTaken = await runtime.waits.for(looking, { label: 'upstream-start', owner: spec.slug, deadline });
    if (ended) throw ended;
    if (!isTaken) return;
    throw new HubError('upstream-connect', {
      message: `A process of another user listens on ${HOST}:${port}, the port that ${spec.slug} was given. The next start uses another port.`,
      detail: { server: spec.slug, phase: 'start', operator: { port } },
    });
  }

  function restFor(ms: number, deadline: Deadline): Promise<void> {
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

  return {
    start,
    async stop(deadline) {
      over = true;
      starting?.end('stopped');
      if (installKey !== undefined && !listens) installLock.doubt(installKey);
      await child?.stop(() => child?.kill('SIGTERM'), deadline);
    },
    cpuMs: () => child?.cpuMs(),
    cpuReadMs: () => child?.cpuReadMs(),
    stderrTail: () => child?.tail() ?? [],
    get pid() {
      return child?.pid;
    },
  };
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

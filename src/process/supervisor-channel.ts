/**
 * A process's end of the guard's IPC channel: connections in, readiness out, and what to do when the guard is gone.
 * Promises: works without a guard too (tests, a hub run by itself): then nothing is sent and nothing comes.
 * Does not: beat or answer probes; that is the private socket's part.
 */
import type { Socket } from 'node:net';
import type { GuardWord, ProcessWord } from '../kernel/supervisor-messages.ts';

export interface GuardLink {
  readonly attached: boolean;
  say(word: ProcessWord): void;
}

export interface GuardEars {
  connection?(socket: Socket): void;
  drain(reason: string): void;
  /** Another hub serves in this one's place already. */
  leave?(): void;
  reload?(): void;
  /** The port is open: what leaves traces may begin. */
  go?(port: number): void;
  /** Control is there, for the first time or again. */
  controlReady?(): void;
  /** The token for the workers' socket of the control process; a new one replaces it. */
  workerToken?(token: string): void;
  /** The guard died: nobody restarts or sweeps any more, so this process ends itself. */
  guardGone(): void;
}

export function createGuardLink(ears: GuardEars): GuardLink {
  const attached = process.send !== undefined;

  function say(word: ProcessWord): void {
    // A closed channel is reported by 'disconnect'; a failing send must not become a fault of its own.
    if (attached && process.connected) process.send?.(word, undefined, undefined, () => {});
  }

  process.on('message', (word: GuardWord, handle: unknown) => {
    if (word.t === 'connection') {
      // Undefined = the client was gone before the handle arrived.
      if (handle && ears.connection) ears.connection(handle as Socket);
      say({ t: 'taken', n: word.n });
    } else if (word.t === 'drain') ears.drain('the guard asked');
    else if (word.t === 'leave') ears.leave?.();
    else if (word.t === 'go') ears.go?.(word.port);
    else if (word.t === 'control-ready') ears.controlReady?.();
    else if (word.t === 'worker-token') ears.workerToken?.(word.token);
    else ears.reload?.();
  });
  process.on('disconnect', () => ears.guardGone());
  // It may have died while this process was booting, when nobody listened yet.
  if (attached && !process.connected) queueMicrotask(() => ears.guardGone());
  process.on('SIGTERM', () => ears.drain('SIGTERM'));
  // At a terminal the whole group gets SIGINT; the guard decides and sends `drain`.
  process.on('SIGINT', () => {
    if (!attached) ears.drain('SIGINT');
  });
  process.on('SIGHUP', () => ears.reload?.());
  return { attached, say };
}

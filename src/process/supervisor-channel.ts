/**
 * A process's end of the supervisor's IPC channel: receives connections, reports readiness, and notices when the
 * supervisor exits. Without a supervisor (tests, a worker started by itself) nothing is sent or received. Heartbeats
 * and probes use the private socket.
 */
import type { Socket } from 'node:net';
import type { ProcessMessage, SupervisorMessage } from '../model/supervisor-messages.ts';

export interface SupervisorChannel {
  /** True when a supervisor started the process. */
  readonly attached: boolean;
  send(message: ProcessMessage): void;
}

export interface SupervisorHandlers {
  connection?(socket: Socket): void;
  drain(reason: string): void;
  /** The replacement of this worker is ready. */
  leave?(): void;
  reload?(): void;
  /** The port is open: actions with lasting effects may begin. */
  go?(message: SupervisorMessage & { readonly t: 'go' }): void;
  /** The control process is ready, for the first time or again. */
  controlReady?(): void;
  /** The token for the workers' socket of the control process; a new one replaces it. */
  workerToken?(token: string): void;
  /** The supervisor exited: nobody restarts this process or ends its children, so it must exit too. */
  supervisorGone(): void;
}

/** Installs the handlers of the channel and of SIGTERM, SIGINT and SIGHUP. */
export function openSupervisorChannel(handlers: SupervisorHandlers): SupervisorChannel {
  const attached = process.send !== undefined;

  function send(message: ProcessMessage): void {
    // A closed channel is reported by 'disconnect'; a send that fails must not become an uncaught error.
    if (attached && process.connected) process.send?.(message, undefined, undefined, () => {});
  }

  process.on('message', (message: SupervisorMessage, handle: unknown) => {
    if (message.t === 'connection') {
      // Undefined when the client closed the connection before the handle arrived.
      if (handle && handlers.connection) handlers.connection(handle as Socket);
      send({ t: 'taken', n: message.n });
    } else if (message.t === 'drain') handlers.drain('the supervisor asked');
    else if (message.t === 'leave') handlers.leave?.();
    else if (message.t === 'go') handlers.go?.(message);
    else if (message.t === 'control-ready') handlers.controlReady?.();
    else if (message.t === 'worker-token') handlers.workerToken?.(message.token);
    else if (message.t === 'reload') handlers.reload?.();
  });
  process.on('disconnect', () => handlers.supervisorGone());
  // The supervisor may have exited during the start of this process, before the listener above existed.
  if (attached && !process.connected) queueMicrotask(() => handlers.supervisorGone());
  process.on('SIGTERM', () => handlers.drain('SIGTERM'));
  // On a terminal the whole process group gets SIGINT; the supervisor decides and sends `drain`.
  process.on('SIGINT', () => {
    if (!attached) handlers.drain('SIGINT');
  });
  process.on('SIGHUP', () => handlers.reload?.());
  return { attached, send };
}

/**
 * Opens one socket to one server: name resolution, TCP, proxy tunnel and TLS under one deadline. Owns the sockets until
 * they are handed over.
 * Guarantees: ends within `connectMs` in every case; destroys a socket that is not handed over; every failure is a
 * HubError; certificates are always verified, with TLS 1.2 or newer; connects to exactly the address that was checked.
 * `_http-pool.ts` pools the sockets.
 */
import { connect as connectTcp, isIP, type LookupFunction, type OnReadOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { HubError } from '../model/errors.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Wait } from '../runtime/waits.ts';
import type { HttpProxy } from './_proxy.ts';
import { readTunnelAnswer, tunnelRequest } from './_tunnel.ts';
import { type AddressRule, isAllowed } from './address-class.ts';
import type { Authorities } from './authorities.ts';
import { hubErrorFromNet } from './errors.ts';
import { type Attempted, addressText, slowWords } from './fault-words.ts';

export interface ConnectorOptions {
  readonly runtime: Runtime;
  /** Display name of the server. */
  readonly owner: string;
  readonly connectMs: number;
  readonly lookup: LookupFunction;
  readonly addresses: AddressRule;
  readonly authorities: Pick<Authorities, 'context' | 'fault'>;
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
  readonly proxy: HttpProxy | undefined;
}

export type Connected = (fault: HubError | null, socket: Socket | null) => void;

/** Delay in ms before the first TCP keep-alive probe of an idle connection; detects half-open peers. */
const TCP_KEEP_ALIVE_MS = 15_000;

export class Connector {
  readonly #options: ConnectorOptions;
  // bounded by: the connections of the pool (each attempt ends within connectMs)
  readonly #attempts = new Set<Attempt>();
  #session: Buffer | undefined;
  /** Address of the newest connection, as `address:port`. */
  peer: string | undefined;
  #closed = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /** True when no hop uses TLS: what the kernel reads is HTTP, and is passed to `onread`. */
  get isPlain(): boolean {
    return !this.#options.secure && this.#options.proxy?.secure !== true;
  }

  /**
   * Opens a connection. Calls `done` once, never before this returns. `servername` is the name from a Host header that
   * differs from the URL's host. `onread` receives the bytes instead of `data` events; it is only allowed where
   * `isPlain` is true, because node:net accepts it at creation only.
   */
  connect(servername: string | undefined, onread: OnReadOpts | undefined, done: Connected): void {
    if (this.#closed) {
      queueMicrotask(() => done(new HubError('server-down', { detail: { server: this.#options.owner } }), null));
      return;
    }
    const attempt = new Attempt(this.#options, servername, this.isPlain ? onread : undefined, this.#session, {
      ended: (fault, socket) => {
        this.#attempts.delete(attempt);
        if (socket?.remoteAddress !== undefined) this.peer = addressText(socket.remoteAddress, socket.remotePort);
        done(fault, socket);
      },
      session: (session) => {
        this.#session = session;
      },
    });
    this.#attempts.add(attempt);
    attempt.start();
  }

  /** Ends pending attempts and refuses new ones. */
  close(): void {
    this.#closed = true;
    for (const attempt of [...this.#attempts]) attempt.fail(new HubError('server-down', { message: 'stopped' }));
  }
}

interface AttemptEvents {
  ended(fault: HubError | null, socket: Socket | null): void;
  session(session: Buffer): void;
}

class Attempt {
  readonly #options: ConnectorOptions;
  readonly #servername: string | undefined;
  readonly #onread: OnReadOpts | undefined;
  readonly #session: Buffer | undefined;
  readonly #events: AttemptEvents;
  readonly #deadline: Deadline;
  readonly #sockets: Socket[] = []; // bounded by: TCP, TLS to a proxy, TLS
  #wait: Wait | undefined;
  #phase = 'connect';
  /** Addresses of the name, as `address:port`. */
  #found: readonly string[] = []; // bounded by: the addresses of one name
  #over = false;

  constructor(
    options: ConnectorOptions,
    servername: string | undefined,
    onread: OnReadOpts | undefined,
    session: Buffer | undefined,
    events: AttemptEvents,
  ) {
    this.#options = options;
    this.#servername = servername;
    this.#onread = onread;
    this.#session = session;
    this.#events = events;
    this.#deadline = options.runtime.deadline(options.connectMs);
  }

  start(): void {
    const { runtime, owner, host, port, proxy } = this.#options;
    try {
      this.#wait = runtime.waits.open('upstream-connect', owner, this.#deadline);
    } catch (fault) {
      queueMicrotask(() => this.fail(fault));
      return;
    }
    this.#deadline.onEnd(() => this.#timeUp());
    const target = proxy ?? { host, port };
    if (isIP(host) !== 0 && !isAllowed(host, this.#options.addresses)) {
      queueMicrotask(() => this.fail(refusedAddress(owner, host)));
      return;
    }
    const socket = connectTcp({
      host: target.host,
      port: target.port,
      lookup: proxy ? this.#options.lookup : this.#judgedLookup,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: Math.max(250, Math.floor(this.#options.connectMs / 3)),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      ...(this.#onread ? { onread: this.#onread } : {}),
    });
    this.#adopt(socket);
    socket.once('connect', () => this.#connected(socket));
  }

  fail(fault: unknown): void {
    if (this.#over) return;
    const { owner, connectMs } = this.#options;
    const waitedMs = connectMs - this.#deadline.remainingMs();
    const about = { server: owner, phase: this.#phase, sent: false, waitedMs, attempted: this.#attempted() };
    this.#end(hubErrorFromNet(fault, about), null);
  }

  #attempted(): Attempted {
    const { proxy, host, port, authorities } = this.#options;
    const target =
      proxy && this.#phase === 'connect' ? `the proxy ${proxy.host}:${proxy.port}` : addressText(host, port);
    const tried = this.#sockets[0]?.autoSelectFamilyAttemptedAddresses ?? [];
    return { target, tried: tried.length > 0 ? tried.map(bracketed) : this.#found, caFault: authorities.fault };
  }

  readonly #judgedLookup: LookupFunction = (name, options, callback) => {
    this.#options.lookup(name, { ...options, all: true }, (fault, found) => {
      const all = Array.isArray(found) ? found : [];
      const refused = all.find((entry) => !isAllowed(entry.address, this.#options.addresses));
      const first = all[0];
      if (fault) callback(fault, '', 0);
      else if (refused) callback(refusedAddress(this.#options.owner, refused.address), '', 0);
      else this.#found = all.map((entry) => addressText(entry.address, this.#options.port));
      if (fault || refused) return;
      if (options.all) callback(null, all);
      else callback(null, first?.address ?? '', first?.family ?? 4);
    });
  };

  #connected(socket: Socket): void {
    const { proxy, secure } = this.#options;
    if (proxy?.secure) this.#secure(socket, { servername: proxy.host }, (safe) => this.#reachedProxy(safe, proxy));
    else if (proxy) this.#reachedProxy(socket, proxy);
    else if (secure) this.#secureTarget(socket);
    else this.#end(null, socket);
  }

  /** Plain http is sent to the proxy directly (absolute path); https goes through a tunnel. */
  #reachedProxy(socket: Socket, proxy: HttpProxy): void {
    const { host, port, secure, owner } = this.#options;
    if (!secure) {
      this.#end(null, socket);
      return;
    }
    this.#phase = 'proxy';
    readTunnelAnswer(socket, (status) => {
      if (this.#over) return;
      if (status >= 200 && status < 300) this.#secureTarget(socket);
      else
        this.fail(
          new HubError('upstream-connect', {
            message:
              status === 0 ? 'The proxy’s answer is not HTTP.' : `The proxy refused the connection (HTTP ${status}).`,
            detail: { server: owner, phase: 'proxy', status },
          }),
        );
    });
    socket.write(tunnelRequest(host, port, proxy.authorization), 'latin1');
  }

  #secureTarget(socket: Socket): void {
    const name = this.#servername || this.#options.host;
    const session = this.#session ? { session: this.#session } : {};
    this.#secure(socket, { servername: name, ALPNProtocols: ['http/1.1'], ...session }, (safe) =>
      this.#end(null, safe),
    );
  }

  #secure(socket: Socket, options: ConnectionOptions, then: (safe: Socket) => void): void {
    this.#phase = 'tls';
    const name = options.servername ?? '';
    const safe = connectTls({
      ...options,
      socket,
      host: name,
      servername: isIP(name) === 0 ? name : '',
      secureContext: this.#options.authorities.context,
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
    });
    this.#adopt(safe);
    if (options.ALPNProtocols) safe.on('session', (session: Buffer) => this.#events.session(session));
    safe.once('secureConnect', () => {
      if (!this.#over) then(safe);
    });
  }

  #adopt(socket: Socket): void {
    this.#sockets.push(socket);
    socket.on('error', (fault) => this.fail(fault));
    // A peer that disconnects during the handshake may end the socket without an error.
    socket.once('close', () => this.fail(Object.assign(new Error('closed'), { code: 'ECONNRESET' })));
  }

  #timeUp(): void {
    const { owner, connectMs } = this.#options;
    const detail = {
      server: owner,
      phase: this.#phase,
      waitedMs: connectMs,
      setting: 'connectMs',
      outcome: 'not-executed',
    } as const;
    const message = slowWords(this.#phase, connectMs, this.#attempted());
    this.fail(new HubError(this.#phase === 'tls' ? 'upstream-tls' : 'upstream-connect', { message, detail }));
  }

  #end(fault: HubError | null, socket: Socket | null): void {
    if (this.#over) return;
    this.#over = true;
    this.#wait?.leave();
    this.#deadline[Symbol.dispose]();
    if (fault) for (const other of this.#sockets) other.destroy();
    this.#events.ended(fault, socket);
  }
}

function refusedAddress(owner: string, address: string): HubError {
  return new HubError('upstream-connect', {
    message: `The address ${address} is not one that the hub connects to.`,
    detail: { server: owner, phase: 'connect', reason: 'address-refused', outcome: 'not-executed' },
  });
}

/** Converts an address that Node.js tried (`address:port`, IPv6 without brackets) to URL form. */
function bracketed(tried: string): string {
  const at = tried.lastIndexOf(':');
  return addressText(tried.slice(0, at), Number(tried.slice(at + 1)));
}

/**
 * One kept-alive connection and the exchange that it carries: writes the request, reads the response. Owns its socket
 * from the attempt to connect to its end; `_http-pool.ts` assigns exchanges and counts idle time.
 * Guarantees: one exchange at a time; unrequested bytes, bytes after a response, or anything that is not HTTP close the
 * connection; aborting an exchange closes it at once; nothing is thrown into Node's callbacks; a paused exchange holds
 * at most the bytes of one read.
 */
import type { OnReadOpts, Socket } from 'node:net';
import { HubError } from '../model/errors.ts';
import type { Connector } from './_connector.ts';
import type { DecodingMemory } from './_content-decoder.ts';
import { type Exchange, type ExchangeHolder, faultFrom } from './_http-exchange.ts';
import type { ResponseHeaders } from './_http-types.ts';
import { ResponseParser, type WireSink } from './_http-wire.ts';
import { peerClosed } from './errors.ts';

/** The interface of the pool for its connections. */
export interface SocketOwner {
  /**
   * The response is a redirect. Returns true when the head of the exchange now has the new path, and the exchange must
   * be placed again.
   */
  mayFollow(exchange: Exchange, status: number, headers: ResponseHeaders): boolean;
  /** Assigns a connection to the exchange, now or later. */
  place(exchange: Exchange): void;
  /** A response has set cookies. */
  cookiesSet(exchange: Exchange, fields: string | readonly string[], headers: ResponseHeaders): void;
  /** Memory for decoding responses. */
  readonly decoding: DecodingMemory;
  connected(socket: HttpSocket): void;
  /** The connection attempt failed. */
  refused(socket: HttpSocket, fault: HubError): void;
  /**
   * The exchange has ended, and the connection can carry another. `hintSeconds` is the time for which the server says
   * that it keeps the connection.
   */
  free(socket: HttpSocket, hintSeconds: number | undefined): void;
  /** An established connection has ended. */
  gone(socket: HttpSocket): void;
}

/** Largest read: large responses are copied in few pieces; idle connections hold the buffer for a few seconds. */
const READ_BYTES = 64 * 1024;
/** Up to this size a body is written together with the head; copying it costs less than a second buffer. */
const JOINED_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const KEEP_ALIVE_HINT = /timeout\s*=\s*"?(\d{1,9})/i;

export class HttpSocket implements WireSink, ExchangeHolder {
  /** Position among the pool's connections. */
  slot = -1;
  /** Time at which it is closed when it is idle. */
  idleUntilMs = 0;
  /** The pool's turn in which it became idle; −1 when it was never used. */
  freedInTurn = -1;
  readonly #owner: SocketOwner;
  readonly #parser: ResponseParser;
  readonly #onread: OnReadOpts | undefined;
  #socket: Socket | undefined;
  #exchange: Exchange | undefined;
  #hintSeconds: number | undefined;
  /** Bytes that were read but not parsed when the exchange was paused. */
  #rest: Buffer | undefined;
  /** True when the server closed the connection while the exchange was paused. */
  #peerEnded = false;
  #isParsing = false;
  #over = false;

  /** When `isPlain` is true, the bytes on the wire are HTTP and are read into one buffer. */
  constructor(owner: SocketOwner, isPlain: boolean) {
    this.#owner = owner;
    this.#parser = new ResponseParser(this, isPlain);
    if (isPlain) {
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      this.#onread = {
        buffer,
        callback: (bytes) => {
          this.#read(buffer, 0, bytes);
          return true;
        },
      };
    }
  }

  /** Opens the connection. Called once, after the connection has its slot. */
  connect(connector: Connector, servername: string | undefined): void {
    connector.connect(servername, this.#onread, (fault, socket) => {
      if (this.#over) socket?.destroy();
      else if (socket) this.#connected(socket);
      else {
        this.#over = true;
        this.#owner.refused(this, fault ?? new HubError('upstream-connect'));
      }
    });
  }

  /** Writes the request, unless its handler aborts it first; returns false then, and the connection is still idle. */
  send(exchange: Exchange): boolean {
    if (!exchange.start()) return false;
    const socket = this.#socket;
    if (this.#over || !socket) {
      exchange.fail(peerClosed());
      return true;
    }
    this.#exchange = exchange;
    exchange.holder = this;
    this.#hintSeconds = undefined;
    this.#parser.begin(exchange.head.bodiless);
    write(socket, exchange);
    if (exchange.paused) this.pace(exchange);
    return true;
  }

  /** Closes the connection; its exchange fails with `fault`, by default with the loss of the connection. */
  drop(fault?: Error): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#shut();
    exchange?.fail(fault ?? peerClosed());
  }

  release(exchange: Exchange): void {
    if (this.#exchange !== exchange) return;
    this.#exchange = undefined;
    this.#shut();
  }

  pace(exchange: Exchange): void {
    const socket = this.#socket;
    if (this.#exchange !== exchange || !socket) return;
    if (exchange.paused) {
      this.#parser.halt();
      socket.pause();
      return;
    }
    this.#parser.resume();
    if (!this.#isParsing) {
      // Inside a callback of the exchange the read continues by itself.
      const rest = this.#rest ?? NOTHING;
      this.#rest = undefined;
      this.#read(rest, 0, rest.length);
    }
    if (this.#over || this.#exchange?.paused) return;
    socket.resume();
    if (this.#peerEnded) this.#ended();
  }

  head(status: number, headers: ResponseHeaders): void {
    const hint = headers['keep-alive'];
    const match = typeof hint === 'string' ? KEEP_ALIVE_HINT.exec(hint) : null;
    if (match) this.#hintSeconds = Number(match[1]);
    const exchange = this.#exchange;
    if (!exchange) return;
    const cookies = headers['set-cookie'];
    if (cookies !== undefined) this.#owner.cookiesSet(exchange, cookies, headers);
    if ((status === 307 || status === 308) && this.#owner.mayFollow(exchange, status, headers)) {
      // The rest of this response is not worth waiting for: it comes once per connection of the link.
      this.#exchange = undefined;
      exchange.holder = undefined;
      this.#shut();
      this.#owner.place(exchange);
    } else exchange.begin(status, headers, this.#owner.decoding);
  }

  body(chunk: Buffer): void {
    this.#exchange?.data(chunk);
  }

  #connected(socket: Socket): void {
    this.#socket = socket;
    socket.on('end', () => this.#ended());
    socket.on('error', (fault) => this.drop(fault));
    socket.on('close', () => {
      if (!this.#peerEnded) this.drop();
    });
    if (!this.#onread) socket.on('data', (chunk: Buffer) => this.#read(chunk, 0, chunk.length));
    this.#owner.connected(this);
  }

  #read(buffer: Buffer, from: number, to: number): void {
    if (this.#over) return;
    const exchange = this.#exchange;
    if (!exchange) {
      this.#shut();
      return;
    }
    let at = from;
    this.#isParsing = true;
    try {
      at = this.#parser.execute(buffer, from, to);
      exchange.flush();
    } catch (fault) {
      this.drop(faultFrom(fault));
    }
    this.#isParsing = false;
    if (this.#exchange !== exchange) return;
    if (exchange.paused) this.#keep(buffer, at, to);
    else if (this.#parser.done) this.#complete(exchange, at === to && this.#parser.reusable);
  }

  #keep(buffer: Buffer, from: number, to: number): void {
    if (from === to) return;
    const rest = Buffer.from(buffer.subarray(from, to));
    this.#rest = this.#rest ? Buffer.concat([this.#rest, rest]) : rest;
  }

  /** Starts the next exchange before the handler of this one is notified, so that no handler delays the connection. */
  #complete(exchange: Exchange, isReusable: boolean): void {
    this.#exchange = undefined;
    // When the response came before the request was written, the rest of the request would precede the next one.
    if (isReusable && !this.#peerEnded && this.#socket?.writableLength === 0) this.#owner.free(this, this.#hintSeconds);
    else this.#shut();
    exchange.end();
  }

  #ended(): void {
    const exchange = this.#exchange;
    if (exchange?.paused) this.#peerEnded = true;
    else if (exchange && this.#parser.finish()) this.#complete(exchange, false);
    else this.drop();
  }

  #shut(): void {
    if (this.#over) return;
    this.#over = true;
    this.#parser.halt();
    this.#rest = undefined;
    this.#socket?.destroy();
    this.#owner.gone(this);
  }
}

function write(socket: Socket, { head, body }: Exchange): void {
  if (body === null) {
    socket.write(`${head.text}\r\n`, 'latin1');
    return;
  }
  const text = `${head.text}content-length: ${body.length}\r\n\r\n`;
  if (body.length <= JOINED_BYTES) {
    // Conversion to Latin-1 and back leaves every byte unchanged.
    socket.write(text + body.toString('latin1'), 'latin1');
    return;
  }
  socket.cork();
  socket.write(text, 'latin1');
  socket.write(body);
  socket.uncork();
}

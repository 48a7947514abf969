/**
 * One kept-alive connection and the exchange that it carries, if any: writes the request, reads the answer.
 * Promises: one exchange at a time; bytes that nobody asked for, a surplus behind an answer, or anything that is no HTTP end the connection;
 * an exchange that is cut off takes the connection with it at once; nothing is thrown into the runtime's callbacks; a paused exchange holds
 * at most one read of bytes.
 * Owns: its socket, from the attempt to connect to its end. Does not: choose exchanges, count idle time (`_http-pool.ts`) or time anything.
 */
import type { OnReadOpts, Socket } from 'node:net';
import { HubError } from '../model/errors.ts';
import type { Connector } from './_connector.ts';
import type { DecodingMemory } from './_content-decoder.ts';
import { type Exchange, type ExchangeHolder, faultFrom } from './_http-exchange.ts';
import type { ResponseHeaders } from './_http-types.ts';
import { ResponseParser, type WireSink } from './_http-wire.ts';
import { peerClosed } from './errors.ts';

/** The pool, as its connections see it. */
export interface SocketOwner {
  /** Its answer is a redirect. True = its head says now where it goes, and it is to be placed again. */
  mayFollow(exchange: Exchange, status: number, headers: ResponseHeaders): boolean;
  /** Gives it a connection, sooner or later. */
  place(exchange: Exchange): void;
  /** An answer has set cookies. */
  cookiesSet(exchange: Exchange, fields: string | readonly string[], headers: ResponseHeaders): void;
  /** Bytes that decoding answers needs. */
  readonly decoding: DecodingMemory;
  connected(socket: HttpSocket): void;
  /** It never was connected. */
  refused(socket: HttpSocket, fault: HubError): void;
  /** Its exchange is over, and it can carry another. `hintSeconds` = how long its server keeps it, by its own word. */
  free(socket: HttpSocket, hintSeconds: number | undefined): void;
  /** It was connected and has ended. */
  gone(socket: HttpSocket): void;
}

/** One read takes at most this much: larger answers are copied in fewer pieces, idle connections hold it for a few seconds. */
const READ_BYTES = 64 * 1024;
/** Up to here a body goes in one write with the head; copying it costs less than a second buffer. */
const JOINED_BYTES = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const KEEP_ALIVE_HINT = /timeout\s*=\s*"?(\d{1,9})/i;

export class HttpSocket implements WireSink, ExchangeHolder {
  /** Place among the pool's connections. */
  slot = -1;
  /** When it is put away, if it is idle. */
  idleUntilMs = 0;
  /** The pool's turn in which it became free; −1 = never used. */
  freedInTurn = -1;
  readonly #owner: SocketOwner;
  readonly #parser: ResponseParser;
  readonly #onread: OnReadOpts | undefined;
  #socket: Socket | undefined;
  #exchange: Exchange | undefined;
  #hintSeconds: number | undefined;
  /** Read, but not yet parsed, when the exchange was paused. */
  #rest: Buffer | undefined;
  /** The server has ended the connection while the exchange was paused. */
  #peerEnded = false;
  #isParsing = false;
  #over = false;

  /** `isPlain` = the bytes of the wire are those of HTTP, so that they can be read into one buffer. */
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

  /** Called once, after it has its slot. */
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

  /** Writes it, unless its handler ends it first. False = the connection is still free. */
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

  /** Ends the connection; what it carries fails with `fault`, by default that the connection was lost. */
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
      // Inside a callback of the exchange the read goes on by itself.
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
      // What is left of this answer is not worth waiting for: it comes once for each connection of the link.
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

  /** The connection goes on to the next exchange before this one is told, so that nobody's handler holds it up. */
  #complete(exchange: Exchange, isReusable: boolean): void {
    this.#exchange = undefined;
    // An answer that came before its request was written leaves the rest of the request in the way.
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
    // Latin-1 there and back leaves every byte as it is.
    socket.write(text + body.toString('latin1'), 'latin1');
    return;
  }
  socket.cork();
  socket.write(text, 'latin1');
  socket.write(body);
  socket.uncork();
}

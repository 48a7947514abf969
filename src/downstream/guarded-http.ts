/**
 * Requests and responses whose callbacks cannot end the process: a fault in a listener, timer or promise ends its own request, with 500 or by
 * closing the connection, and is published as an event.
 * Guarantees: every listener on a request or response of a listener made with these classes is covered; others go through `guardEmitter`,
 * `guardCallback` and `whenSettled`, which an architecture rule checks.
 */
import type { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from '../model/outcome.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { writeRefusal } from './http-answer.ts';
import type { Pacing } from './pacing.ts';

/** Where faults are published. */
type Faults = Pick<Runtime, 'bus'>;

/** What ends when its callback fails. */
interface Ending {
  destroy(): unknown;
}

/** Publishes a fault and ends what it belongs to: 500 for a response that has not begun, else its connection is closed. */
function failRequest(runtime: Faults, owner: Ending | undefined, fault: unknown): void {
  runtime.bus.publish({ type: 'task-faulted', task: 'request', fault });
  try {
    if (!(owner instanceof ServerResponse)) owner?.destroy();
    else if (!owner.headersSent && !owner.destroyed) writeRefusal(owner, new Refusal('internal'), undefined, owner.req);
    else if (!owner.writableEnded) owner.destroy();
  } catch (second) {
    runtime.bus.publish({ type: 'task-faulted', task: 'request', fault: second });
  }
}

/** Returns `callback` with its faults ending `owner`: for listeners on sockets and for timers. */
export function guardCallback<A extends unknown[]>(
  runtime: Faults,
  owner: Ending | undefined,
  callback: (...args: A) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      callback(...args);
    } catch (fault) {
      failRequest(runtime, owner, fault);
    }
  };
}

/** Guards all listeners of an emitter that is no request or response of a listener here: a fault in one ends `owner`. */
export function guardEmitter(runtime: Faults, emitter: EventEmitter, owner: Ending | undefined): void {
  const emit = emitter.emit.bind(emitter);
  emitter.emit = (...event) => {
    try {
      return emit(...event);
    } catch (fault) {
      failRequest(runtime, owner, fault);
      return true;
    }
  };
}

/** Takes the body of a request from the parser, without the stream of the runtime around it. */
export interface BodyReceiver {
  data(chunk: Buffer): void;
  end(): void;
  /** The body will not arrive: the request has been destroyed. */
  gone(): void;
}

interface ReceivingRequest extends IncomingMessage {
  /** Undefined = the body goes to the stream. */
  receiver: BodyReceiver | undefined;
}

/**
 * Gives the body of a request of a listener here to `receiver`, until `stopReceiving`. Returns false when a part of the body is in the stream already,
 * or when the request is of another server: then its events have to be used.
 */
export function receiveBody(request: IncomingMessage, receiver: BodyReceiver): boolean {
  if (!('receiver' in request) || request.complete || request.readableLength > 0) return false;
  (request as ReceivingRequest).receiver = receiver;
  return true;
}

/** What comes after this goes to the stream of the runtime. */
export function stopReceiving(request: IncomingMessage): void {
  (request as ReceivingRequest).receiver = undefined;
}

interface ClosableRequest extends IncomingMessage {
  _consuming?: boolean;
  /** The runtime's own step for requests whose body nobody reads; its types do not name it. */
  _dumpAndCloseReadable?(): void;
}

/** Ends the stream of a request: what has not been read of its body is dropped as it arrives, and its stream emits nothing any more. */
export function closeBody(request: ClosableRequest): void {
  if (request._dumpAndCloseReadable === undefined) return;
  request._dumpAndCloseReadable();
  request._consuming = true;
  if ('receiver' in request) (request as ReceivingRequest).receiver = NOBODY;
}

const NOBODY: BodyReceiver = { data() {}, end() {}, gone() {} };

/** Calls `callback` with the value of `promise`; a rejection, or a fault of the callback, ends `owner`. */
export function whenSettled<T>(
  runtime: Faults,
  owner: Ending | undefined,
  promise: Promise<T>,
  callback: (value: T) => void,
): void {
  // One promise fewer than `then` and `catch`: every call comes by here.
  promise.then(
    (value) => {
      try {
        callback(value);
      } catch (fault) {
        failRequest(runtime, owner, fault);
      }
    },
    (fault: unknown) => failRequest(runtime, owner, fault),
  );
}

/** Calls `listener` once when the response closes, at once when it has closed already. */
export function onceClosed(response: ServerResponse, listener: () => void): void {
  if (response.destroyed) listener();
  else response.once('close', listener);
}

/** A response of a listener, with what is called when it closes: a field costs less than a listener. */
export interface GuardedServerResponse extends ServerResponse {
  whenClosed?: (() => void) | undefined;
}

/** The runtime gives options too, which its types do not name. */
type RuntimeResponse<R extends IncomingMessage> = new (request: R, options: unknown) => ServerResponse<R>;

/** The classes that `createServer` makes requests and responses of. */
export interface HttpClasses {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
}

/**
 * Returns the classes that `createServer` makes requests and responses of; responses extend `Response`. `handedOver` is called when the last byte
 * of a response has been handed over, whoever wrote it; `refused` with each refusal that has to be recorded.
 */
export function guardedClasses(
  runtime: Faults,
  Response: typeof ServerResponse,
  handedOver: (response: ServerResponse) => void,
  refused: (response: ServerResponse, refusal: Refusal) => void = () => {},
): HttpClasses {
  class GuardedRequest extends IncomingMessage {
    response: ServerResponse | undefined;
    receiver: BodyReceiver | undefined;
    /** Who paces it, and in which turn it was started (`pacing.ts`); here, so that requests have one hidden class. */
    pacing: Pacing | undefined;
    startedIn = -1;

    override push(chunk: Buffer | null): boolean {
      const { receiver } = this;
      if (receiver === undefined) return super.push(chunk);
      try {
        if (chunk === null) receiver.end();
        else receiver.data(chunk);
      } catch (fault) {
        failRequest(runtime, this.response, fault);
      }
      return true;
    }

    override _destroy(fault: Error | null, done: (fault?: Error | null) => void): void {
      const { receiver } = this;
      this.receiver = undefined;
      super._destroy(fault, done);
      if (receiver !== undefined) guardCallback(runtime, this.response, () => receiver.gone())();
    }

    override emit(event: string | symbol, ...args: unknown[]): boolean {
      try {
        return super.emit(event as 'data', ...args);
      } catch (fault) {
        failRequest(runtime, this.response, fault);
        return true;
      }
    }
  }
  class GuardedResponse extends (Response as unknown as RuntimeResponse<GuardedRequest>) {
    whenClosed: (() => void) | undefined;

    constructor(request: GuardedRequest, options?: unknown) {
      super(request, options);
      request.response = this;
    }

    /** Called by `traceRefusal` (`http-answer.ts`). */
    refused(refusal: Refusal): void {
      refused(this, refusal);
    }

    override emit(event: string | symbol, ...args: unknown[]): boolean {
      try {
        if (event === 'prefinish') handedOver(this);
        else if (event === 'close') this.whenClosed?.();
        return super.emit(event as 'close', ...args);
      } catch (fault) {
        failRequest(runtime, this, fault);
        return true;
      }
    }
  }
  return { IncomingMessage: GuardedRequest, ServerResponse: GuardedResponse as unknown as typeof ServerResponse };
}

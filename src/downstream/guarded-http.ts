/**
 * Requests and responses whose callbacks cannot end the process: a fault in a listener, timer or promise ends its own
 * request, with 500 or a closed connection, and is published as an event.
 * Guarantees: all listeners on requests and responses of these classes are covered; others use `guardEmitter`,
 * `guardCallback` and `whenSettled`, which `test/architecture/guarded.test.ts` checks.
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

/** Publishes a fault and ends its request: 500 if the response has not begun, else the connection is closed. */
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

/** Guards all listeners of an emitter that is no request or response of these classes: a fault ends `owner`. */
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

/** Receives the body of a request from the parser, without Node's stream. */
export interface BodyReceiver {
  data(chunk: Buffer): void;
  end(): void;
  /** The body will not arrive: the request was destroyed. */
  gone(): void;
}

interface ReceivingRequest extends IncomingMessage {
  /** Undefined when the body goes to the stream. */
  receiver: BodyReceiver | undefined;
}

/**
 * Passes the body of a request to `receiver`, until `stopReceiving`. Returns false when a part of it is in the stream
 * already, or the request belongs to another server: then use its events.
 */
export function receiveBody(request: IncomingMessage, receiver: BodyReceiver): boolean {
  if (!('receiver' in request) || request.complete || request.readableLength > 0) return false;
  (request as ReceivingRequest).receiver = receiver;
  return true;
}

/** Passes the rest to Node's stream. */
export function stopReceiving(request: IncomingMessage): void {
  (request as ReceivingRequest).receiver = undefined;
}

interface ClosableRequest extends IncomingMessage {
  _consuming?: boolean;
  /** Node's own step for requests whose body is not read; its types do not declare it. */
  _dumpAndCloseReadable?(): void;
}

/** Ends the stream of a request: the unread part of its body is dropped as it arrives, and no event follows. */
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
  // One promise less than `then` and `catch`, because every call uses this.
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

/** Calls `listener` once when the response closes; at once when it has. */
export function onceClosed(response: ServerResponse, listener: () => void): void {
  if (response.destroyed) listener();
  else response.once('close', listener);
}

/** A response with the functions to call when it closes: a field costs less than a listener. */
export interface GuardedServerResponse extends ServerResponse {
  whenClosed?: (() => void) | undefined;
}

/** Node also passes options, which its types do not declare. */
type RuntimeResponse<R extends IncomingMessage> = new (request: R, options: unknown) => ServerResponse<R>;

/** The classes from which `createServer` creates requests and responses. */
export interface HttpClasses {
  readonly IncomingMessage: typeof IncomingMessage;
  readonly ServerResponse: typeof ServerResponse;
}

/** A request that knows its response. */
interface AnsweredRequest extends IncomingMessage {
  response: ServerResponse | undefined;
}

/**
 * Returns the classes from which `createServer` creates requests and responses; responses extend `Response`.
 * `handedOver` is called when the last byte of a response was handed over; `refused` with each refusal to be recorded.
 */
export function guardedClasses(
  runtime: Faults,
  Response: typeof ServerResponse,
  handedOver: (response: ServerResponse) => void,
  refused: (response: ServerResponse, refusal: Refusal) => void = () => {},
): HttpClasses {
  return {
    IncomingMessage: guardedRequestClass(runtime),
    ServerResponse: guardedResponseClass(runtime, Response, { handedOver, refused }),
  };
}

function guardedRequestClass(runtime: Faults) {
  class GuardedRequest extends IncomingMessage {
    response: ServerResponse | undefined;
    receiver: BodyReceiver | undefined;
    /** Set by `pacing.ts`, with the turn in which it was started; here, so that requests have one hidden class. */
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
  return GuardedRequest;
}

function guardedResponseClass(
  runtime: Faults,
  Response: typeof ServerResponse,
  on: {
    readonly handedOver: (response: ServerResponse) => void;
    readonly refused: (response: ServerResponse, refusal: Refusal) => void;
  },
): typeof ServerResponse {
  class GuardedResponse extends (Response as unknown as RuntimeResponse<AnsweredRequest>) {
    whenClosed: (() => void) | undefined;

    constructor(request: AnsweredRequest, options?: unknown) {
      super(request, options);
      request.response = this;
    }

    /** Called by `traceRefusal` (`http-answer.ts`). */
    refused(refusal: Refusal): void {
      on.refused(this, refusal);
    }

    override emit(event: string | symbol, ...args: unknown[]): boolean {
      try {
        if (event === 'prefinish') on.handedOver(this);
        else if (event === 'close') this.whenClosed?.();
        return super.emit(event as 'close', ...args);
      } catch (fault) {
        failRequest(runtime, this, fault);
        return true;
      }
    }
  }
  return GuardedResponse as unknown as typeof ServerResponse;
}

/**
 * Stateless calls to servers that ask users: the client gets the requests with a sealed state, and returns with
 * answers. Guarantees: the state is valid once, until it expires, for the same user, key, path, method, name and
 * arguments; for others it is refused before any server is involved; waiting calls are limited, in all and for each
 * key; each has a connection to its server that no other call uses.
 */
import { createHash, randomBytes } from 'node:crypto';
import { viewKey } from '../auth/access.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { inputRequiredResult, type Retry, readRetry } from '../protocol/era-2026/input-required.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import type { Envelope } from '../protocol/message.ts';
import { paramSpan } from '../protocol/scan.ts';
import { notificationFrame } from '../protocol/write.ts';
import { FairMap } from '../runtime/shares.ts';
import type { ConnectionOwner } from '../upstream/client-context.ts';
import { SuspendedCallStore } from './_suspended-call-store.ts';
import type { Call, Incoming, Reply } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { notifyListening } from './updates.ts';

/** The content of a sealed state. */
interface State {
  /** Id of the suspended call. The name stays: a worker of another version may read the state. */
  readonly park: string;
  /** Id of the worker that holds the call. */
  readonly slot: number;
  readonly round: number;
  /** Wall clock ms. */
  readonly untilMs: number;
  /** Digest of the caller and the request. */
  readonly about: string;
}

type Answered = Outcome<Reply> | Promise<Outcome<Reply>>;

const MAY_ASK: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);
const LISTS = /^notifications\/(tools|prompts|resources)\/list_changed$/;
const EXPIRED = 'This call is no longer suspended: it has expired, or its worker has restarted. Start the call again.';

export function mayAsk(method: string): boolean {
  return MAY_ASK.has(method);
}

type SuspendedCallsParts = Pick<PipelineParts, 'runtime' | 'limits' | 'seals' | 'slot' | 'sessions'>;

export class SuspendedCalls {
  readonly #parts: SuspendedCallsParts;
  /** Calls that wait for their client, by id. */
  readonly #waiting: FairMap<string, SuspendedCallStore>;
  /** Connections in use: server and id. */
  readonly #connections = new Set<string>(); // bounded by: calls in flight and suspended ones

  constructor(parts: SuspendedCallsParts) {
    const { limits, runtime } = parts;
    this.#parts = parts;
    const bounds = { max: () => limits.parked, share: () => limits.parkedPerKey };
    this.#waiting = new FairMap('call.parked', bounds, 'refuse', runtime.ceilings);
  }

  /** Answers a call of a method that may ask back. `work` runs it, and may answer later. */
  answer(call: Call, work: (call: Call) => Answered): Answered {
    const retry = readRetry(call.envelope);
    if (isRefusal(retry)) return retry;
    return retry ? this.#again(call, retry) : this.#begin(call, work);
  }

  /**
   * Returns the id of the worker that holds the call of this message; undefined when it is no answer, or not readable
   * here.
   */
  ownerOf(envelope: Envelope): number | undefined {
    if (!mayAsk(envelope.method)) return undefined;
    const retry = readRetry(envelope);
    return isRefusal(retry) || !retry ? undefined : this.#stateIn(retry.requestState)?.slot;
  }

  #begin(call: Call, work: (call: Call) => Answered): Answered {
    const open = this.#parts.runtime.openWork.add('suspended-call', call);
    if (isRefusal(open)) return open;
    const store = this.#createStore(call, () => open.close());
    open.onEnd(() => store.end());
    let connection: string | undefined;
    const connectionOwner = (server: string): ConnectionOwner => {
      const id = this.#takeConnection(call, server);
      connection = `${server}\n${id}`;
      return this.#connectionOwner(call, id, store);
    };
    const free = (): void => {
      if (connection !== undefined) this.#connections.delete(connection);
      connection = undefined;
    };
    let outcome: Answered;
    try {
      outcome = work({ ...call, connectionOwner, incoming: askingThrough(store, call.incoming) });
    } catch (fault) {
      free();
      open.close();
      throw fault;
    }
    if (!(outcome instanceof Promise)) {
      free();
      open.close();
      return outcome;
    }
    const over = outcome.then((late) => {
      free();
      return late;
    });
    return store.first(call.incoming, over);
  }

  /** `over` is called when the call has ended. */
  #createStore(call: Call, over: () => void): SuspendedCallStore {
    const { runtime, limits, slot, seals } = this.#parts;
    const id = randomBytes(12).toString('base64url');
    const about = aboutOf(call);
    const store = new SuspendedCallStore({
      runtime,
      askUserMs: limits.askUserMs,
      ask: (questions, round) => {
        const refusal = this.#keep(id, call.owner, store);
        if (refusal) return refusal;
        const untilMs = runtime.clock.wallMs() + limits.askUserMs;
        const state: State = { park: id, slot, round, untilMs, about };
        return inputRequiredResult(questions, seals.seal('request-state', jsonBytes(state)));
      },
      over: () => {
        this.#waiting.delete(id);
        over();
      },
    });
    return store;
  }

  /** Keeps a call until its client answers. Returns the refusal when too many wait. */
  #keep(id: string, owner: string, store: SuspendedCallStore): Refusal | undefined {
    if (this.#waiting.has(id) || this.#waiting.set(owner, id, store)) return undefined;
    return this.#waiting.size < this.#waiting.max
      ? new Refusal('overloaded', 'Too many calls of this key wait for their user.', { setting: 'parkedPerKey' })
      : new Refusal('overloaded', 'Too many calls wait for their users.', { setting: 'parked' });
  }

  /** Takes the lowest free one of this user's connections to the server, so that few are opened. Returns its id. */
  #takeConnection(call: Call, server: string): string {
    const who = digest([call.principal.userId, call.principal.family, viewKey(call.viewName)]).slice(0, 16);
    const bits = capabilityBits(call).toString(36);
    for (let number = 0; ; number += 1) {
      const id = `~${who}-${bits}-${number}`;
      if (this.#connections.has(`${server}\n${id}`)) continue;
      this.#connections.add(`${server}\n${id}`);
      return id;
    }
  }

  #connectionOwner(call: Call, id: string, store: SuspendedCallStore): ConnectionOwner {
    const { sessions } = this.#parts;
    return {
      id,
      access: call,
      share: call.owner,
      isStateless: true,
      capabilityBits: capabilityBits(call),
      logLevel: () => call.incoming.requestMeta?.logLevel,
      subscriptions: () => [],
      hasStream: () => false,
      notify: (_server, method, params) =>
        LISTS.test(method) && notifyListening(call, sessions, notificationFrame(method, params)),
      ask: (asking) => store.ask(asking),
    };
  }

  #again(call: Call, retry: Retry): Answered {
    const { runtime, slot } = this.#parts;
    const state = this.#stateIn(retry.requestState);
    if (!state) return new Refusal('request-state-invalid');
    if (state.about !== aboutOf(call))
      return new Refusal('request-state-invalid', 'This requestState belongs to another request.');
    const store = state.untilMs > runtime.clock.wallMs() ? this.#waiting.get(state.park) : undefined;
    if (!store || state.slot !== slot) return new Refusal('request-state-invalid', EXPIRED);
    if (store.round !== state.round)
      return new Refusal('request-state-invalid', 'This requestState has been used already.');
    return store.again(call.incoming, retry);
  }

  #stateIn(text: string): State | undefined {
    const { seals } = this.#parts;
    const bytes = seals.open('request-state', text);
    return bytes && (JSON.parse(bytes.toString('utf8')) as State);
  }
}

function capabilityBits({ incoming }: Call): number {
  return incoming.requestMeta?.capabilityBits ?? 0;
}

/** Returns the same message, whose questions and whose end go through the store. */
function askingThrough(store: SuspendedCallStore, incoming: Incoming): Incoming {
  return {
    ...incoming,
    // A method of its class, which the spread leaves out.
    header: (name) => incoming.header?.(name),
    back: store,
    onGone: (listener) => store.onGone(listener),
  };
}

/**
 * Returns a digest of caller, path and request: arguments byte by byte, because a client sends the same request again.
 */
function aboutOf({ principal, viewName, envelope }: Call): string {
  const { bytes, method } = envelope;
  const text = (key: string): string => {
    const { at, end } = paramSpan(envelope, key);
    return at < 0 ? '' : bytes.toString('latin1', at, end);
  };
  const { userId, family } = principal;
  return digest([userId, family, viewKey(viewName), method, text('name'), text('uri'), text('arguments')]);
}

function digest(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('base64url');
}

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
import type { Call, Reply } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { notifyListening } from './updates.ts';

/** The content of a sealed state. */
interface State {
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

export interface SuspendedCalls {
  /** Answers a call of a method that may ask back. `work` runs it, and may answer later. */
  answer(call: Call, work: (call: Call) => Answered): Answered;
  /**
   * Returns the id of the worker that holds the call of this message; undefined when it is no answer, or not readable
   * here.
   */
  ownerOf(envelope: Envelope): number | undefined;
}

const MAY_ASK: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);
const LISTS = /^notifications\/(tools|prompts|resources)\/list_changed$/;
const EXPIRED = 'This call is no longer suspended: it has expired, or its worker has restarted. Start the call again.';

export function mayAsk(method: string): boolean {
  return MAY_ASK.has(method);
}

export function createSuspendedCalls(
  parts: Pick<PipelineParts, 'runtime' | 'limits' | 'seals' | 'slot' | 'sessions'>,
): SuspendedCalls {
  const { runtime, limits, seals, slot, sessions } = parts;
  const bounds = { max: () => limits.parked, share: () => limits.parkedPerKey };
  const waiting = new FairMap<string, SuspendedCallStore>('call.parked', bounds, 'refuse', runtime.ceilings);
  const sessionConnections = new Set<string>(); // bounded by: calls in flight and parked ones

  /** Returns the lowest free one of this user's connections to the server, so that few are opened. */
  function connectionFor(call: Call, server: string, bits: number): string {
    const who = digest([call.principal.userId, call.principal.family, viewKey(call.viewName)]).slice(0, 16);
    for (let number = 0; ; number += 1) {
      const id = `~${who}-${bits.toString(36)}-${number}`;
      if (sessionConnections.has(`${server}\n${id}`)) continue;
      sessionConnections.add(`${server}\n${id}`);
      return id;
    }
  }

  function begin(call: Call, work: (call: Call) => Answered): Answered {
    const open = runtime.openWork.add('suspended-call', call);
    if (isRefusal(open)) return open;
    const id = randomBytes(12).toString('base64url');
    const about = aboutOf(call);
    let sessionConnection: string | undefined;
    const free = (): void => {
      if (sessionConnection !== undefined) sessionConnections.delete(sessionConnection);
      sessionConnection = undefined;
    };
    const park = new SuspendedCallStore({
      runtime,
      askUserMs: limits.askUserMs,
      ask(questions, round) {
        if (!waiting.has(id) && !waiting.set(call.owner, id, park))
          return waiting.size < waiting.max
            ? new Refusal('overloaded', 'Too many calls of this key wait for their user.', { setting: 'parkedPerKey' })
            : new Refusal('overloaded', 'Too many calls wait for their users.', { setting: 'parked' });
        const untilMs = runtime.clock.wallMs() + limits.askUserMs;
        const state: State = { park: id, slot, round, untilMs, about };
        return inputRequiredResult(questions, seals.seal('request-state', jsonBytes(state)));
      },
      over: () => {
        waiting.delete(id);
        open.close();
      },
    });
    open.onEnd(() => park.end());
    const bits = call.incoming.requestMeta?.capabilityBits ?? 0;
    const connectionOwner = (server: string): ConnectionOwner => {
      const mine = connectionFor(call, server, bits);
      sessionConnection = `${server}\n${mine}`;
      return {
        id: mine,
        access: call,
        share: call.owner,
        isStateless: true,
        capabilityBits: bits,
        logLevel: () => call.incoming.requestMeta?.logLevel,
        subscriptions: () => [],
        isHeard: () => false,
        notify: (_server, method, params) =>
          LISTS.test(method) && notifyListening(call, sessions, notificationFrame(method, params)),
        ask: (asking) => park.ask(asking),
      };
    };
    const { incoming } = call;
    const asking: Call = {
      ...call,
      connectionOwner,
      incoming: {
        ...incoming,
        // A method of its class, which the spread leaves out.
        header: (name) => incoming.header?.(name),
        back: park,
        onGone: (listener) => park.onGone(listener),
      },
    };
    let outcome: Answered;
    try {
      outcome = work(asking);
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
    return park.first(incoming, over);
  }

  function again(call: Call, retry: Retry): Answered {
    const state = stateIn(retry.requestState);
    if (!state) return new Refusal('request-state-invalid');
    if (state.about !== aboutOf(call))
      return new Refusal('request-state-invalid', 'This requestState belongs to another request.');
    const park = state.untilMs > runtime.clock.wallMs() ? waiting.get(state.park) : undefined;
    if (!park || state.slot !== slot) return new Refusal('request-state-invalid', EXPIRED);
    if (park.round !== state.round)
      return new Refusal('request-state-invalid', 'This requestState has been used already.');
    return park.again(call.incoming, retry);
  }

  function stateIn(text: string): State | undefined {
    const bytes = seals.open('request-state', text);
    return bytes && (JSON.parse(bytes.toString('utf8')) as State);
  }

  return {
    answer(call, work) {
      const retry = readRetry(call.envelope);
      if (isRefusal(retry)) return retry;
      return retry ? again(call, retry) : begin(call, work);
    },
    ownerOf(envelope) {
      if (!mayAsk(envelope.method)) return undefined;
      const retry = readRetry(envelope);
      return isRefusal(retry) || !retry ? undefined : stateIn(retry.requestState)?.slot;
    },
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

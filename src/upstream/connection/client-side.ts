/**
 * The client side of one connection as its server meets it: whom a question, a log line or an update reaches.
 * Promises: a log line or a question goes to the call that it came with, where that is certain (its exchange, or a lane of one session); nothing
 * of one user's call reaches another's.
 * Does not: carry requests and answers (`correlator.ts`).
 * Source: protocol.md §1.7 A.
 */
import type { Limits } from '../../config/limits.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import { ClientQuestions } from './client-questions.ts';
import type { Correlator } from './correlator.ts';
import { ListenStream } from './listen-stream.ts';
import type { PendingRequest } from './pending-request.ts';
import { WantedUpdates } from './wanted-updates.ts';

export interface ClientSideParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  /** As configured; users read it in front of questions. */
  readonly name: string;
  readonly clientContext: ClientContext;
  readonly correlator: () => Correlator;
  /** A list may have changed unheard. */
  readonly listChanged: () => void;
}

const EMPTY = Buffer.from('{}');
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

export class ClientSide {
  readonly #parts: ClientSideParts;
  readonly #asked: ClientQuestions;
  readonly #wishes: WantedUpdates;
  /** Of a stateless server, in place of wishes. */
  #listen: ListenStream | undefined;

  constructor(parts: ClientSideParts) {
    this.#parts = parts;
    const { runtime, limits, server, name, clientContext, correlator } = parts;
    this.#asked = new ClientQuestions({
      ...{ runtime, limits, server, name, clientContext },
      flightOf: (exchange) => this.#flightOf(exchange),
      keyOf: (idRaw) => correlator().questionKey(idRaw),
      reply: (frame) => correlator().aside(frame),
    });
    this.#wishes = new WantedUpdates({ runtime, limits, server, clientContext, correlator });
  }

  /** The server is there (again): it is told what the client side wants to hear. */
  met(hello: InitializeResult): void {
    if (hello.version !== VERSION_2026) return this.#wishes.tell(hello);
    this.#listen?.[Symbol.dispose]();
    this.#listen = new ListenStream(this.#parts, hello.capabilities);
  }

  logLevelChanged(): void {
    this.#wishes.levelChanged();
  }

  /** A call of a session has (un)subscribed the connection to this resource. */
  subscribed(uri: string, isWanted: boolean): void {
    if (this.#listen) this.#listen.wishesChanged();
    else this.#wishes.told(uri, isWanted);
  }

  subscriptionsAdded(uris: readonly string[]): void {
    if (this.#listen) this.#listen.wishesChanged();
    else this.#wishes.add(uris);
  }

  wishesChanged(): void {
    if (this.#listen) this.#listen.wishesChanged();
    else this.#wishes.tellSoon();
  }

  /** What the client declared as roots is another list now; a server that cares asks for it. */
  rootsChanged(): void {
    this.#parts.correlator().notify('notifications/roots/list_changed', undefined);
  }

  notice({ bytes, method, params }: Envelope, exchange: number | undefined): void {
    if (method === ACKNOWLEDGED) return this.#listen?.acknowledged();
    const text = params.at < 0 ? EMPTY : Buffer.from(bytes.subarray(params.at, params.end));
    const pending = method === 'notifications/message' ? this.#flightOf(exchange) : undefined;
    if (pending) pending.plan.back.notify(method, text);
    else this.#parts.clientContext.notice(method, text);
  }

  /** False = nobody can be asked. */
  question(envelope: Envelope, exchange: number | undefined): boolean {
    return this.#asked.take(envelope, exchange);
  }

  takenBack(envelope: Envelope): void {
    this.#asked.takenBack(envelope);
  }

  [Symbol.dispose](): void {
    this.#asked[Symbol.dispose]();
    this.#wishes[Symbol.dispose]();
    this.#listen?.[Symbol.dispose]();
  }

  /** The call of the exchange; on a lane, where every call is the same user's, else the newest one. */
  #flightOf(exchange: number | undefined): PendingRequest | undefined {
    const correlator = this.#parts.correlator();
    const own = exchange === undefined ? undefined : correlator.at(exchange);
    if (own?.plan.back.ask) return own;
    return this.#parts.clientContext.lists ? own : correlator.newest(({ plan }) => plan.back.ask !== undefined);
  }
}

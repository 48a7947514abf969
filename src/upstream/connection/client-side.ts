/**
 * The client side of one connection: who gets a server's requests, log lines and updates. `correlator.ts` carries
 * calls.
 * Guarantees: a log line or a request goes to the call that it belongs to, if that is certain (its exchange, or the
 * session connection); nothing of one user's call reaches another user.
 */
import type { Limits } from '../../config/limits.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { Envelope } from '../../protocol/message.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ClientContext } from '../client-context.ts';
import { ClientQuestions } from './client-questions.ts';
import type { ConnectionReports } from './connection-parts.ts';
import type { Correlator } from './correlator.ts';
import { ListenStream } from './listen-stream.ts';
import type { PendingRequest } from './pending-request.ts';
import { WantedUpdates } from './wanted-updates.ts';

export interface ClientSideParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  /** As configured; shown to users before requests. */
  readonly name: string;
  readonly clientContext: ClientContext;
  readonly correlator: Correlator;
  readonly owner: Pick<ConnectionReports, 'listChanged'>;
}

const EMPTY = Buffer.from('{}');
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

export class ClientSide {
  readonly #parts: ClientSideParts;
  readonly #asked: ClientQuestions;
  readonly #wishes: WantedUpdates;
  /** For a stateless server, in place of session preferences. */
  #listen: ListenStream | undefined;

  constructor(parts: ClientSideParts) {
    this.#parts = parts;
    const { runtime, limits, server, name, clientContext, correlator } = parts;
    this.#asked = new ClientQuestions({
      runtime,
      limits,
      server,
      name,
      clientContext,
      requestOf: (exchange) => this.#requestOf(exchange),
      correlator,
    });
    this.#wishes = new WantedUpdates({ runtime, limits, server, clientContext, correlator });
  }

  /** Sends log level and subscriptions after each initialize. */
  met(hello: InitializeResult): void {
    if (hello.version !== VERSION_2026) return this.#wishes.tell(hello);
    this.#listen?.[Symbol.dispose]();
    this.#listen = new ListenStream(this.#parts, hello.capabilities);
  }

  logLevelChanged(): void {
    this.#wishes.levelChanged();
  }

  /** Records that a call of a session has subscribed the connection to this resource, or unsubscribed it. */
  subscribed(uri: string, isWanted: boolean): void {
    if (this.#listen) this.#listen.preferencesChanged();
    else this.#wishes.told(uri, isWanted);
  }

  subscriptionsAdded(uris: readonly string[]): void {
    if (this.#listen) this.#listen.preferencesChanged();
    else this.#wishes.add(uris);
  }

  preferencesChanged(): void {
    if (this.#listen) this.#listen.preferencesChanged();
    else this.#wishes.syncSoon();
  }

  /** Notifies a server that uses roots that the client's list has changed. */
  rootsChanged(): void {
    this.#parts.correlator.notify('notifications/roots/list_changed', undefined);
  }

  notice({ bytes, method, params }: Envelope, exchange: number | undefined): void {
    if (method === ACKNOWLEDGED) return this.#listen?.acknowledged();
    const text = params.at < 0 ? EMPTY : Buffer.from(bytes.subarray(params.at, params.end));
    const pending = method === 'notifications/message' ? this.#requestOf(exchange) : undefined;
    if (pending) pending.plan.back.notify(method, text);
    else this.#parts.clientContext.notice(method, text);
  }

  /** Takes a server request; returns false when no user can be asked. */
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

  /**
   * Returns the call of the exchange; on a session connection, where all calls belong to one user, else the newest one.
   */
  #requestOf(exchange: number | undefined): PendingRequest | undefined {
    const { correlator } = this.#parts;
    const own = exchange === undefined ? undefined : correlator.at(exchange);
    if (own?.plan.back.ask) return own;
    return this.#parts.clientContext.lists ? own : correlator.newest(({ plan }) => plan.back.ask !== undefined);
  }
}

/**
 * Looks up names at other workers: a client that has listed there may call here before the list arrives.
 * Guarantees: a name is unknown only when the other workers do not know it in the same view, or it has not arrived
 * within `COMING_MS`; one key looks up a few names at once, each for at least `PLACE_MS`; calls of one name share a
 * request; a worker that does not answer costs `ANSWER_MS`.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Catalog } from '../catalog/catalog.ts';
import type { View } from '../catalog/view.ts';
import type { Limits } from '../config/limits.ts';
import type { ViewName } from '../model/principal.ts';
import { isAbsent, requestUnixSocket } from '../net/unix-socket-request.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { FairCount } from '../runtime/shares.ts';
import type { Call } from './call.ts';
import { resolveView } from './resolve-view.ts';

export type NameKind = 'tool' | 'prompt' | 'resource' | 'template';

export interface LateName<T> {
  readonly kind: NameKind;
  readonly routeIn: (view: View) => T | undefined;
}

export interface LateNamesParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'nameQuestionsPerKey'>;
  readonly catalog: Pick<Catalog, 'onRebuilt' | 'viewAll' | 'viewOfGroup' | 'viewOfGroups' | 'viewOfServer'>;
  /** Returns the private sockets of the other workers, some of which may have exited. */
  readonly others: () => readonly string[];
}

const PATH = '/names/';
const AT_ONCE = 64;
const PLACE_MS = 50;
const ANSWER_MS = 1000;
const COMING_MS = 2000;
/** A longer path is not sent: names in lists are far shorter. */
const PATH_BYTES = 8192;
const ANSWER_BYTES = 4096;

const ROUTE_IN: Readonly<Record<NameKind, (view: View, name: string) => unknown>> = {
  tool: (view, name) => view.route(name),
  prompt: (view, name) => view.promptRoute(name),
  resource: (view, name) => view.resourceRoute(name),
  template: (view, name) => view.templateRoute(name),
};

/** One request, for all calls that came before it was sent. */
interface Question {
  readonly owner: string;
  readonly answer: PromiseWithResolvers<boolean>;
}

/** A name that is being looked up; calls that come meanwhile wait for the next request. */
interface Asking {
  next: Question | undefined;
}

export class LateNames {
  readonly #parts: LateNamesParts;
  readonly #places: FairCount;
  readonly #asking = new Map<string, Asking>(); // bounded by: call.name-questions

  constructor(parts: LateNamesParts) {
    const { runtime } = parts;
    this.#parts = parts;
    this.#places = new FairCount('call.name-questions', AT_ONCE, () => this.#share(), 'refuse', runtime.ceilings);
  }

  /**
   * Resolves a name that the call's view does not know, once it has arrived from another worker. The promise resolves
   * to undefined when no worker knows it or the call has ended, and never rejects. Returns undefined when there is no
   * worker to ask.
   */
  find<T>(name: string, call: Call, about: LateName<T>): Promise<T | undefined> | undefined {
    const { others } = this.#parts;
    if (call.open.ended || others().length === 0) return undefined;
    const path = pathOf(about.kind, call.viewName, name);
    const asked = path.length > PATH_BYTES ? undefined : this.#isKnownElsewhere(path, call.owner);
    return asked?.then((isKnown) => (isKnown && !call.open.ended ? this.#untilHere(call, about) : undefined));
  }

  /** Serves `GET /names/<kind>/<view>/<name>` to other workers: 200 for a known name, 404 for others. */
  serve(asked: IncomingMessage, response: ServerResponse): void {
    const { catalog } = this.#parts;
    asked.resume();
    const question = questionIn(asked.url ?? '');
    const view = question && resolveView(catalog, question.viewName);
    const isKnown = view && ROUTE_IN[question.kind](view, question.name) !== undefined;
    response.writeHead(isKnown ? 200 : 404, { 'content-length': 0 }).end();
  }

  #share() {
    const { limits } = this.#parts;
    return limits.nameQuestionsPerKey;
  }

  /** Returns true also when a running worker does not answer: it may be processing that list. */
  async #isKnownAt(socket: string, path: string): Promise<boolean> {
    const { runtime } = this.#parts;
    using deadline = runtime.deadline(ANSWER_MS);
    const asked = requestUnixSocket(socket, { method: 'GET', path }, { deadline, maxBytes: ANSWER_BYTES });
    try {
      const { status } = await runtime.waits.for(asked, { label: 'owner-forward', owner: 'names', deadline });
      return status === 200;
    } catch (fault) {
      return !isAbsent(fault);
    }
  }

  /** Looks up a name while calls need it, once in `PLACE_MS`. */
  async #askWhileWanted(path: string, own: Asking): Promise<void> {
    const { others, runtime } = this.#parts;
    while (own.next) {
      const { owner, answer } = own.next;
      own.next = undefined;
      const asked = others().map(async (socket) => {
        // The first that knows it is enough: another one may have stopped.
        if (await this.#isKnownAt(socket, path)) answer.resolve(true);
      });
      await Promise.all(asked);
      answer.resolve(false);
      await new Promise<void>((resolve) => void runtime.timers.after(PLACE_MS, resolve));
      this.#places.give(owner);
    }
    this.#asking.delete(path);
  }

  /** Asks, from now on, whether another worker knows it. Returns undefined when there are too many lookups. */
  #isKnownElsewhere(path: string, owner: string): Promise<boolean> | undefined {
    const { runtime } = this.#parts;
    const running = this.#asking.get(path);
    if (running?.next) return running.next.answer.promise;
    if (this.#places.take(owner) !== 'taken') return undefined;
    const next: Question = { owner, answer: Promise.withResolvers() };
    if (running) running.next = next;
    else {
      const own: Asking = { next };
      this.#asking.set(path, own);
      runtime.scope.run('ask for a name', () => this.#askWhileWanted(path, own));
    }
    return next.answer.promise;
  }

  async #untilHere<T>({ viewName, open, requestId: owner }: Call, { routeIn }: LateName<T>): Promise<T | undefined> {
    const { runtime, catalog } = this.#parts;
    using deadline = runtime.deadline(COMING_MS);
    open.onEnd(() => deadline.end('cancelled'));
    const { promise, resolve } = Promise.withResolvers<T>();
    const look = (): void => {
      const view = resolveView(catalog, viewName);
      const route = view && routeIn(view);
      if (route !== undefined) resolve(route);
    };
    const forget = catalog.onRebuilt(look);
    look();
    try {
      return await runtime.waits.for(promise, { label: 'first-catalog', owner, deadline });
    } catch {
      return undefined;
    } finally {
      forget();
    }
  }
}

function pathOf(kind: NameKind, viewName: ViewName, name: string): string {
  return `${PATH}${kind}/${encodeURIComponent(JSON.stringify(viewName))}/${encodeURIComponent(name.toWellFormed())}`;
}

/** Returns undefined for a request of another version. */
function questionIn(
  url: string,
): { readonly kind: NameKind; readonly viewName: ViewName; readonly name: string } | undefined {
  const [kind = '', view = '', name = ''] = url.slice(PATH.length).split('/');
  if (!isKind(kind)) return undefined;
  try {
    return { kind, viewName: JSON.parse(decodeURIComponent(view)) as ViewName, name: decodeURIComponent(name) };
  } catch {
    return undefined;
  }
}

function isKind(kind: string): kind is NameKind {
  return Object.hasOwn(ROUTE_IN, kind);
}

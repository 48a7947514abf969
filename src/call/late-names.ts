/**
 * Names that another worker knows before this one: a client that has listed there may call here a moment before the list has come.
 * Guarantees: a name is unknown only when the other workers have been asked after the call came, and do not know it in the same view, or when it has not come
 * here `COMING_MS` after one of them said that it does, or did not answer; one key asks for a few names at once, and each holds its place for `PLACE_MS` at least; calls of
 * one name share a question; a worker that does not answer costs `ANSWER_MS`.
 * Does not: pass calls on; the list comes by way of control.
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

export type NameKind = 'tool' | 'prompt' | 'resource';

export interface LateNames {
  /**
   * Where a name leads that the call's view does not know, once it has come from another worker; the promise settles with undefined where it leads nowhere, and
   * never rejects. Undefined = nobody can be asked.
   */
  find<T>(name: string, call: Call, about: LateName<T>): Promise<T | undefined> | undefined;
  /** Serves `GET /names/<kind>/<view>/<name>` to other workers: 200 = known, 404 = not. */
  serve(asked: IncomingMessage, response: ServerResponse): void;
}

export interface LateName<T> {
  readonly kind: NameKind;
  readonly routeIn: (view: View) => T | undefined;
}

export interface LateNamesParts {
  readonly runtime: Runtime;
  readonly limits: Pick<Limits, 'nameQuestionsPerKey'>;
  readonly catalog: Pick<Catalog, 'onRebuilt' | 'viewAll' | 'viewOfGroup' | 'viewOfGroups' | 'viewOfServer'>;
  /** Private sockets of the other workers, some of which may be gone. */
  readonly others: () => readonly string[];
}

const PATH = '/names/';
const AT_ONCE = 64;
const PLACE_MS = 50;
const ANSWER_MS = 1000;
const COMING_MS = 2000;
/** A longer path is not asked: what lists can hold is far below. */
const PATH_BYTES = 8192;
const ANSWER_BYTES = 4096;

const ROUTE_IN: Readonly<Record<NameKind, (view: View, name: string) => unknown>> = {
  tool: (view, name) => view.route(name),
  prompt: (view, name) => view.promptRoute(name),
  resource: (view, name) => view.resourceRoute(name),
};

/** One question, for all calls that came before it was asked. */
interface Question {
  readonly owner: string;
  readonly answer: PromiseWithResolvers<boolean>;
}

/** A name that is being asked for; calls that come meanwhile wait for the next question. */
interface Asking {
  next: Question | undefined;
}

export function createLateNames({ runtime, limits, catalog, others }: LateNamesParts): LateNames {
  const places = new FairCount('call.name-questions', AT_ONCE, limits.nameQuestionsPerKey, 'refuse', runtime.ceilings);
  const asking = new Map<string, Asking>(); // bounded by: call.name-questions

  /** True also where a worker that is there does not answer: it may be busy with the very list. */
  async function isKnownAt(socket: string, path: string): Promise<boolean> {
    using deadline = runtime.deadline(ANSWER_MS);
    const asked = requestUnixSocket(socket, { method: 'GET', path }, { deadline, maxBytes: ANSWER_BYTES });
    try {
      const { status } = await runtime.waits.for(asked, { label: 'owner-forward', owner: 'names', deadline });
      return status === 200;
    } catch (fault) {
      return !isAbsent(fault);
    }
  }

  /** Asks for a name while calls want it, once in `PLACE_MS`. */
  async function askWhileWanted(path: string, own: Asking): Promise<void> {
    while (own.next) {
      const { owner, answer } = own.next;
      own.next = undefined;
      const answers = await Promise.all(others().map((socket) => isKnownAt(socket, path)));
      answer.resolve(answers.includes(true));
      await new Promise<void>((resolve) => void runtime.timers.after(PLACE_MS, resolve));
      places.give(owner);
    }
    asking.delete(path);
  }

  /** Whether another worker knows it, asked from now on. Undefined = too much is asked already. */
  function isKnownElsewhere(path: string, owner: string): Promise<boolean> | undefined {
    const running = asking.get(path);
    if (running?.next) return running.next.answer.promise;
    if (places.take(owner) !== 'taken') return undefined;
    const next: Question = { owner, answer: Promise.withResolvers() };
    if (running) running.next = next;
    else {
      const own: Asking = { next };
      asking.set(path, own);
      runtime.scope.run('ask for a name', () => askWhileWanted(path, own));
    }
    return next.answer.promise;
  }

  async function untilHere<T>(
    { viewName, open, requestId: owner }: Call,
    { routeIn }: LateName<T>,
  ): Promise<T | undefined> {
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

  return {
    find(name, call, about) {
      if (others().length === 0) return undefined;
      const path = pathOf(about.kind, call.viewName, name);
      const asked = path.length > PATH_BYTES ? undefined : isKnownElsewhere(path, call.owner);
      return asked?.then((isKnown) => (isKnown ? untilHere(call, about) : undefined));
    },
    serve(asked, response) {
      asked.resume();
      const question = questionIn(asked.url ?? '');
      const view = question && resolveView(catalog, question.viewName);
      const isKnown = view && ROUTE_IN[question.kind](view, question.name) !== undefined;
      response.writeHead(isKnown ? 200 : 404, { 'content-length': 0 }).end();
    },
  };
}

function pathOf(kind: NameKind, viewName: ViewName, name: string): string {
  return `${PATH}${kind}/${encodeURIComponent(JSON.stringify(viewName))}/${encodeURIComponent(name.toWellFormed())}`;
}

/** Undefined = it comes from a worker of another version. */
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

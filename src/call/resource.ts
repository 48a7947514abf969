/**
 * resources/read: resolves a URI to its server.
 * Guarantees: a result is passed on unchanged, except that `contents[].uri` is the URI that clients use, if it differs
 * from the server's (two servers had the same); an unknown URI causes no request.
 */
import { exposedUri } from '../catalog/exposed-uri.ts';
import type { ResourceRoute, Target } from '../catalog/route.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { elementSpans } from '../protocol/elements.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import { memberSpan, scanCallParams, stringAt } from '../protocol/scan.ts';
import { replaceSpans } from '../protocol/write.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { FirstCatalog } from './first-catalog.ts';
import type { LateName } from './late-names.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';

/** Contents of one result whose URIs are checked. */
const CONTENTS = 10_000;

type MayBe<T> = T | undefined | Promise<T | undefined>;

/** Resolves a URI, or a template, in the view of a call; undefined when it is unknown. */
export interface ResourceNames {
  resource(uri: string, call: Call): MayBe<ResourceRoute>;
  template(template: string, call: Call): MayBe<Target>;
}

/** What the view does not know may come with the first list of a server, or from another worker. */
export function createResourceNames(
  firstCatalog: FirstCatalog,
  { catalog, lateNames }: Pick<PipelineParts, 'catalog' | 'lateNames'>,
): ResourceNames {
  function find<T>(name: string, call: Call, about: LateName<T>): MayBe<T> {
    const known = about.routeIn(call.view);
    if (known !== undefined) return known;
    const late = () => lateNames?.find(name, call, about);
    const waiting = firstCatalog.wait(call);
    if (waiting === undefined) return late();
    return waiting.then(() => about.routeIn(resolveView(catalog, call.viewName) ?? call.view) ?? late());
  }
  return {
    resource: (uri, call) => find(uri, call, { kind: 'resource', routeIn: (view) => view.resourceRoute(uri) }),
    template: (name, call) => find(name, call, { kind: 'template', routeIn: (view) => view.templateRoute(name) }),
  };
}

export function createResourceRead(
  send: Dispatch,
  names: ResourceNames,
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  return function readResource(call) {
    const params = scanCallParams(call.envelope, 'uri');
    if (isRefusal(params)) return params;
    const { name: uri } = params;
    return withRoute(names.resource(uri, call), call, (target) => {
      if (!target) return notFound(uri);
      return send(call, { params, target, shape: target.renamed ? (json) => withUri(json, target, uri) : undefined });
    });
  };
}

/** Calls `then` with the route: at once when it is known at once, else unless the call has ended meanwhile. */
export function withRoute<T>(
  route: MayBe<T>,
  { open }: Pick<Call, 'open'>,
  then: (route: T | undefined) => Outcome<Reply> | Promise<Outcome<Reply>>,
): Outcome<Reply> | Promise<Outcome<Reply>> {
  return route instanceof Promise ? route.then((late) => open.ended ?? then(late)) : then(route);
}

export function notFound(uri: string): Refusal {
  return new Refusal('resource-not-found', undefined, { uri: uri.slice(0, 2000) });
}

/** The resource itself has the URI that was asked for; what comes with it, one that leads to the same server. */
function withUri(json: Buffer, { server, native }: ResourceRoute, asked: string): Buffer {
  const contents = memberSpan(json, { at: 0, end: json.length }, 'contents');
  const edits = elementSpans(json, contents, CONTENTS).flatMap((content) => {
    const span = memberSpan(json, content, 'uri');
    const uri = stringAt(json, span);
    if (uri === undefined) return [];
    return [{ ...span, with: jsonBytes(uri === native ? asked : exposedUri(server, uri)) }];
  });
  return edits.length === 0 ? json : replaceSpans(json, edits);
}

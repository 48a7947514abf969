/**
 * resources/read: resolves a URI to its server.
 * Guarantees: a result is passed on unchanged, except that `contents[].uri` is the URI that clients use, if it differs
 * from the server's (two servers had the same); an unknown URI causes no request.
 */
import { exposedUri } from '../catalog/exposed-uri.ts';
import type { ResourceRoute } from '../catalog/route.ts';
import type { View } from '../catalog/view.ts';
import { isRefusal, type Outcome, Refusal } from '../model/outcome.ts';
import { elementSpans } from '../protocol/elements.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import { memberSpan, scanCallParams, stringAt } from '../protocol/scan.ts';
import { replaceSpans } from '../protocol/write.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import type { FirstCatalog } from './first-catalog.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { resolveView } from './resolve-view.ts';

/** Contents of one result whose URIs are checked. */
const CONTENTS = 10_000;

export function createResourceRead(
  send: Dispatch,
  firstCatalog: FirstCatalog,
  { catalog, lateNames }: Pick<PipelineParts, 'catalog' | 'lateNames'>,
): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  return function readResource(call) {
    const params = scanCallParams(call.envelope, 'uri');
    if (isRefusal(params)) return params;
    const { name: uri } = params;
    const go = (target: ResourceRoute | undefined): Outcome<Reply> | Promise<Outcome<Reply>> => {
      if (!target) return notFound(uri);
      return send(call, { params, target, shape: target.renamed ? (json) => withUri(json, target, uri) : undefined });
    };
    const routeIn = (view: View) => view.resourceRoute(uri);
    const orLate = (target: ResourceRoute | undefined): Outcome<Reply> | Promise<Outcome<Reply>> => {
      const late = target ? undefined : lateNames?.find(uri, call, { kind: 'resource', routeIn });
      return late?.then(go) ?? go(target);
    };
    const target = routeIn(call.view);
    const waiting = target ? undefined : firstCatalog.wait(call);
    if (waiting === undefined) return orLate(target);
    return waiting.then(() => orLate(routeIn(resolveView(catalog, call.viewName) ?? call.view)));
  };
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

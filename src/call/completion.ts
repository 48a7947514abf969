/**
 * completion/complete: passes the request to the server of the prompt or template.
 * Guarantees: a server without completions gets no request; the result is then empty.
 */
import type { Target } from '../catalog/route.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { scanRefParams } from '../protocol/scan.ts';
import type { Call, Reply } from './call.ts';
import type { Dispatch } from './dispatch.ts';
import { unknownPrompt } from './prompt.ts';
import { notFound } from './resource.ts';

const NOTHING = Buffer.from('{"completion":{"values":[],"hasMore":false}}');

export function createCompletion(send: Dispatch): (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>> {
  return function complete(call) {
    const { envelope, view } = call;
    const params = scanRefParams(envelope);
    if (isRefusal(params)) return params;
    const { name, of } = params;
    const target: Target | undefined = of === 'prompt' ? view.promptRoute(name) : view.templateRoute(name);
    if (!target) return of === 'prompt' ? unknownPrompt(name, view) : notFound(name);
    if (!view.declares(target.server, 'completions')) return { kind: 'result', json: NOTHING };
    return send(call, { params, target });
  };
}

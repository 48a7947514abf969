/**
 * Answers one message according to its method, with one file for each family of methods.
 * Guarantees: replies and notifications get no answer; a method of a later protocol version, and an unknown one, are
 * refused by name.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { methodRow } from '../protocol/methods.ts';
import type { Call, Reply } from './call.ts';
import type { Cancels } from './cancel.ts';
import { createCompletion } from './completion.ts';
import { createDispatch } from './dispatch.ts';
import { createFirstCatalog } from './first-catalog.ts';
import { FirstListing } from './first-listing.ts';
import { answerInitialize } from './initialize.ts';
import { answerList } from './lists.ts';
import type { PipelineParts } from './pipeline-parts.ts';
import { createPromptGet } from './prompt.ts';
import { createResourceNames, createResourceRead } from './resource.ts';
import { setLevel } from './set-level.ts';
import { createSubscribe } from './subscribe.ts';
import { createToolCall } from './tool.ts';

/** Answers at once, or by a promise when a server is asked or waited for. May throw, and reject. */
export type Methods = (call: Call) => Outcome<Reply> | Promise<Outcome<Reply>>;

export function createMethods(parts: PipelineParts, cancels: Cancels): Methods {
  const firstCatalog = createFirstCatalog(parts);
  const firstListing = new FirstListing(parts);
  const send = createDispatch(parts);
  const names = createResourceNames(firstCatalog, parts);
  const subscribe = createSubscribe(send, names, parts);
  const routed: ReadonlyMap<string, Methods> = new Map([
    ['tools/call', createToolCall(send, firstListing, parts.limits)],
    ['prompts/get', createPromptGet(send, firstListing)],
    ['resources/read', createResourceRead(send, names)],
    ['completion/complete', createCompletion(send, firstListing, names, parts.catalog)],
    ['resources/subscribe', subscribe],
    ['resources/unsubscribe', subscribe],
    ['logging/setLevel', (call: Call) => setLevel(call, parts)],
  ]);

  function take(call: Call): Reply {
    const { method, kind } = call.envelope;
    if (kind === 'reply') {
      if (call.session) parts.questions.answered(call.session, call.envelope);
    } else if (method === 'notifications/cancelled') cancels.cancel(call);
    else if (method === 'notifications/roots/list_changed' && call.session)
      parts.registry.rootsChanged(call.session.random);
    return { kind: 'accepted' };
  }

  return function answer(call) {
    const { method, kind } = call.envelope;
    if (kind !== 'request') return take(call);
    const answerRouted = routed.get(method);
    if (answerRouted) return answerRouted(call);
    return answerList(call, firstCatalog, parts) ?? answerInitialize(call, parts) ?? unknown(method);
  };
}

function unknown(method: string): Refusal {
  const name = method.slice(0, 100);
  if (methodRow(method)?.served === 'not-yet')
    return new Refusal('not-served-yet', `${name} is not supported by this version of the hub.`);
  return new Refusal('method-not-found', `Unknown method: ${name}`);
}

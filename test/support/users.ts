/**
 * A user at a client of either SDK: what they do, what they are asked and answer, what they hear. The journeys say the
 * same to both.
 * Does not: hide what a client's own checks reject.
 */
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  PromptListChangedNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { MODERN } from './stateless.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
export type Loose = any;

export interface CallOptions {
  readonly onprogress?: (progress: { progress: number; total?: number; message?: string }) => void;
  readonly signal?: AbortSignal;
}

/** What both SDKs' clients can do. */
export interface Actions {
  listTools(): Promise<Loose>;
  listPrompts(): Promise<Loose>;
  listResources(): Promise<Loose>;
  listResourceTemplates(): Promise<Loose>;
  call(name: string, args?: object, options?: CallOptions): Promise<Loose>;
  getPrompt(params: { name: string; arguments?: Record<string, string> }): Promise<Loose>;
  readResource(params: { uri: string }): Promise<Loose>;
  complete(params: Loose): Promise<Loose>;
  subscribeResource(params: { uri: string }): Promise<Loose>;
  unsubscribeResource(params: { uri: string }): Promise<Loose>;
  setLoggingLevel(level: Loose): Promise<Loose>;
  sendRootsListChanged(): Promise<void>;
  ping(): Promise<unknown>;
}

/** What reached the user, in order, and what they answer. */
export class Mind {
  readonly elicitations: Loose[] = [];
  readonly samplings: Loose[] = [];
  readonly logs: Loose[] = [];
  readonly updates: string[] = [];
  readonly changes: string[] = [];
  rootsAsked = 0;
  roots: { uri: string; name: string }[] = [];
  elicit: (params: Loose) => Loose = () => ({ action: 'decline' });
  sample: (params: Loose) => Loose = () => ({ role: 'assistant', content: { type: 'text', text: '' }, model: 'none' });
}

export interface User extends AsyncDisposable {
  readonly can: Actions;
  readonly mind: Mind;
  readonly sessionId: string;
  /** Ends the session, as a client does that is closed for good. */
  end(): Promise<void>;
}

export interface Place {
  readonly url: string;
  readonly key: string;
  /** What the client declares; default everything there is. */
  readonly capabilities?: Loose;
}

export type Connect = (place: Place) => Promise<User>;

const EVERY_CAPABILITY = { roots: { listChanged: true }, sampling: {}, elicitation: { form: {}, url: {} } };

function authorization(key: string) {
  return { requestInit: { headers: { Authorization: `Bearer ${key}` } } };
}

/** SDK v1 over any transport of its own. */
export async function joinV1(transport: unknown, capabilities: Loose = EVERY_CAPABILITY) {
  const client = new ClientV1({ name: 'user-v1', version: '1.0.0' }, { capabilities });
  const mind = new Mind();
  if (capabilities.elicitation)
    client.setRequestHandler(ElicitRequestSchema, async ({ params }) => {
      mind.elicitations.push(params);
      return mind.elicit(params);
    });
  if (capabilities.sampling)
    client.setRequestHandler(CreateMessageRequestSchema, async ({ params }) => {
      mind.samplings.push(params);
      return mind.sample(params);
    });
  if (capabilities.roots)
    client.setRequestHandler(ListRootsRequestSchema, async () => {
      mind.rootsAsked += 1;
      return { roots: mind.roots };
    });
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void mind.logs.push(params));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void mind.updates.push(params.uri));
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void mind.changes.push('tools'));
  client.setNotificationHandler(PromptListChangedNotificationSchema, () => void mind.changes.push('prompts'));
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void mind.changes.push('resources'));
  // The SDK's own types disagree under exactOptionalPropertyTypes.
  await client.connect(transport as Transport);
  const call = (name: string, args: object = {}, options: CallOptions = {}) =>
    client.callTool({ name, arguments: { ...args } }, undefined, options as Loose);
  const can: Actions = { ...actionsOf(client), call };
  return { client, mind, can };
}

export const connectV1: Connect = async ({ url, key, capabilities }) => {
  const transport = new HttpV1(new URL(url), authorization(key));
  const { client, mind, can } = await joinV1(transport, capabilities);
  const end = async () => {
    await transport.terminateSession();
    await client.close();
  };
  return { can, mind, sessionId: transport.sessionId ?? '', end, [Symbol.asyncDispose]: () => client.close() };
};

/** SDK v2 as it is out of the box: it speaks the 2025 era. */
export const connectV2: Connect = (place) => joinV2(place, {});

/** SDK v2 that speaks 2026-07-28 and nothing else. */
export const connectPinned: Connect = (place) => joinV2(place, { versionNegotiation: { mode: { pin: MODERN } } });

async function joinV2({ url, key, capabilities = EVERY_CAPABILITY }: Place, options: Loose): Promise<User> {
  const client = new ClientV2({ name: 'user-v2', version: '1.0.0' }, { capabilities, ...options });
  const mind = new Mind();
  if (capabilities.elicitation)
    client.setRequestHandler('elicitation/create', async ({ params }: Loose) => {
      mind.elicitations.push(params);
      return mind.elicit(params);
    });
  if (capabilities.sampling)
    client.setRequestHandler('sampling/createMessage', async ({ params }: Loose) => {
      mind.samplings.push(params);
      return mind.sample(params);
    });
  if (capabilities.roots)
    client.setRequestHandler('roots/list', async () => {
      mind.rootsAsked += 1;
      return { roots: mind.roots };
    });
  client.setNotificationHandler('notifications/message', ({ params }) => void mind.logs.push(params));
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => void mind.updates.push(params.uri));
  client.setNotificationHandler('notifications/tools/list_changed', () => void mind.changes.push('tools'));
  client.setNotificationHandler('notifications/prompts/list_changed', () => void mind.changes.push('prompts'));
  client.setNotificationHandler('notifications/resources/list_changed', () => void mind.changes.push('resources'));
  const transport = new HttpV2(new URL(url), authorization(key));
  await client.connect(transport);
  const call = (name: string, args: object = {}, options: CallOptions = {}) =>
    client.callTool({ name, arguments: { ...args } }, options as Loose);
  const end = async () => {
    await transport.terminateSession();
    await client.close();
  };
  return {
    ...{ mind, end, sessionId: transport.sessionId ?? '', can: { ...actionsOf(client), call } },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/**
 * Users of every client with the tool `ask` of the test servers of 2026-07-28 (roots and a name, then a colour), and
 * what it says to each.
 */
export const ASKED: readonly {
  readonly connect: Connect;
  readonly answer: (mind: Mind) => void;
  readonly said: string;
}[] = [
  ...[connectV1, connectV2].map((connect) => ({
    connect,
    answer: (mind: Mind) => inRounds(mind, 'Ada', 'file:///one', { action: 'decline' }),
    said: 'Ada at file:///one likes decline',
  })),
  {
    connect: connectPinned,
    answer: (mind) => inRounds(mind, 'Bea', 'file:///two', { action: 'accept', content: { colour: 'blue' } }),
    said: 'Bea at file:///two likes blue',
  },
];

function inRounds(mind: Mind, name: string, uri: string, colour: Loose): void {
  mind.roots = [{ uri, name }];
  mind.elicit = ({ message }) => (message.endsWith('] Who?') ? { action: 'accept', content: { name } } : colour);
}

const SHARED = [
  ...(['listTools', 'listPrompts', 'listResources', 'listResourceTemplates', 'getPrompt', 'readResource'] as const),
  ...(['complete', 'subscribeResource', 'unsubscribeResource', 'setLoggingLevel', 'sendRootsListChanged'] as const),
  'ping',
] as const;

function actionsOf(client: ClientV1 | ClientV2): Omit<Actions, 'call'> {
  const of: Loose = client;
  return Object.fromEntries(SHARED.map((name) => [name, (...args: unknown[]) => of[name](...args)])) as Loose;
}

/** All text of a result. */
export function textOf(result: Loose): string {
  return result.content.map(({ text }: { text?: string }) => text ?? '').join('\n');
}

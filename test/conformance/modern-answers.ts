/**
 * The everything server of the stateless era (2026-07-28): what it answers to each request, whichever way it came.
 * Promises: the contents and tools are those of `everything-*.ts`; every result says what kind it is, and those that
 * may be kept for how long and by whom; a log line goes out only to a request that wants it.
 * Does not: know HTTP or stdio (`modern-http.ts`, `modern-server.ts`).
 */
import { type CompleteRequest, ErrorCode, McpError, type ServerNotification } from '@modelcontextprotocol/sdk/types.js';
import { complete, getPrompt, RESOURCES, readResource, TEMPLATES } from './everything-contents.ts';
import { ASKING_PROMPT, askForContext, listPrompts } from './everything-rounds.ts';
import { callTool, listTools } from './everything-tools.ts';
import type { Extra, Session, World } from './everything-world.ts';
import { MODERN_VERSION, type ModernClaim, type ModernMessage, type ModernParams, PREFIX } from './modern-claim.ts';
import { inRounds, missing } from './modern-rounds.ts';

/** One request that is being answered. */
export interface ModernRequest {
  readonly message: ModernMessage;
  readonly claim: ModernClaim;
  readonly signal: AbortSignal;
  notify(notification: object): void;
}

const KEPT = { ttlMs: 60_000, cacheScope: 'public' } as const;
/** The 2025 dates' code for a resource that is not there. */
const OLD_NOT_FOUND = -32002;
const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  completions: {},
  logging: {},
} as const;

/** The result; throws an `McpError`. Of `subscriptions/listen` it comes when the request is closed. */
export async function answerModern(world: World, request: ModernRequest): Promise<object> {
  const { method, params = {} } = request.message;
  if (method === 'tools/call' || method === 'prompts/get') return asking(world, request);
  if (method === 'resources/read') return { ...whole(read(params, world)), ...KEPT };
  if (method === 'completion/complete') return whole(complete(params as CompleteRequest['params']));
  if (method === 'subscriptions/listen') return whole(await listen(world, request));
  const kept = keptResult(method, world);
  if (kept) return { ...whole(kept), ...KEPT };
  throw new McpError(ErrorCode.MethodNotFound, `Unknown method: ${method}`);
}

function keptResult(method: string, world: World): object | undefined {
  if (method === 'server/discover')
    return {
      supportedVersions: [MODERN_VERSION],
      capabilities: CAPABILITIES,
      _meta: { [`${PREFIX}serverInfo`]: { name: 'everything', version: '1.0.0' } },
    };
  if (method === 'tools/list') return { tools: listTools(world) };
  if (method === 'prompts/list') return { prompts: listPrompts(world) };
  if (method === 'resources/list') return { resources: RESOURCES };
  if (method === 'resources/templates/list') return { resourceTemplates: TEMPLATES };
  return undefined;
}

function whole(result: object): object {
  return { resultType: 'complete', ...result };
}

function read({ uri = '' }: ModernParams, world: World): object {
  try {
    return readResource(uri, world);
  } catch (fault) {
    if (fault instanceof McpError && fault.code === OLD_NOT_FOUND)
      throw new McpError(ErrorCode.InvalidParams, 'Resource not found', { uri });
    throw fault;
  }
}

function asking(world: World, request: ModernRequest): Promise<object> {
  const { message, claim } = request;
  const { name = '', arguments: args = {} } = message.params ?? {};
  // Of the 2025 dates the tool itself says so, for lack of such a code.
  if (name === 'test_missing_capability' && !claim.capabilities.sampling) throw missing({ sampling: {} });
  return inRounds(message, claim.capabilities, async (ask) => {
    const extra = extraOf(request, ask);
    if (message.method === 'tools/call')
      return whole(await callTool(name, { args, extra, session: sessionOf(request), world }));
    if (name === ASKING_PROMPT.name) return whole(await askForContext(extra));
    return whole(getPrompt(name, args as Record<string, string>));
  });
}

function extraOf({ message, claim, signal, notify }: ModernRequest, sendRequest: Extra['sendRequest']): Extra {
  const { progressToken } = message.params?._meta ?? {};
  return {
    signal,
    ...(progressToken === undefined ? {} : { _meta: { progressToken: progressToken as string | number } }),
    sendRequest,
    sendNotification: async (notification: ServerNotification) => {
      if (notification.method === 'notifications/message' && claim.logLevel === undefined) return;
      notify(notification);
    },
  };
}

/** Tells of what it is told in `tell`. */
function sessionOf({ claim }: ModernRequest, tell: (notification: object) => void = () => {}): Session {
  return {
    server: {
      getClientCapabilities: () => claim.capabilities,
      sendToolListChanged: async () => tell({ method: 'notifications/tools/list_changed' }),
      sendPromptListChanged: async () => tell({ method: 'notifications/prompts/list_changed' }),
      sendResourceUpdated: async (params) => tell({ method: 'notifications/resources/updated', params }),
    },
    level: claim.logLevel ?? 'emergency',
    subscriptions: new Set(),
  };
}

function listen(world: World, request: ModernRequest): Promise<object> {
  const { message, notify, signal } = request;
  const wanted = message.params?.notifications ?? {};
  const uris = Array.isArray(wanted.resourceSubscriptions) ? (wanted.resourceSubscriptions as string[]) : [];
  const _meta = { [`${PREFIX}subscriptionId`]: message.id };
  const heard = new Set([
    ...(wanted.toolsListChanged ? ['notifications/tools/list_changed'] : []),
    ...(wanted.promptsListChanged ? ['notifications/prompts/list_changed'] : []),
    ...(uris.length > 0 ? ['notifications/resources/updated'] : []),
  ]);
  const session = sessionOf(request, (notification) => {
    const { method, params } = notification as { method: string; params?: object };
    if (heard.has(method)) notify({ method, params: { ...params, _meta } });
  });
  for (const uri of uris) session.subscriptions.add(uri);
  notify({ method: 'notifications/subscriptions/acknowledged', params: { _meta, notifications: wanted } });
  world.sessions.add(session);
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      world.sessions.delete(session);
      resolve({ _meta });
    });
  });
}

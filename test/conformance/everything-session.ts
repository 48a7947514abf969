/**
 * One session of the everything server: an SDK server of the 2025 era with all its handlers.
 * Promises: what a session has subscribed to or set does not touch another; it is forgotten when its transport
 * closes.
 */
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  ErrorCode,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListResourceTemplatesRequestSchema,
  ListToolsRequestSchema,
  McpError,
  ReadResourceRequestSchema,
  SetLevelRequestSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { complete, getPrompt, RESOURCES, readResource, TEMPLATES } from './everything-contents.ts';
import { ASKING_PROMPT, askForContext, listPrompts } from './everything-rounds.ts';
import { callTool, listTools } from './everything-tools.ts';
import { MAX_SUBSCRIPTIONS, type Session, type World } from './everything-world.ts';

/** A server that is ready to be connected to one transport. */
export function createSession(world: World): Server {
  const server = new Server(
    { name: 'everything', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        completions: {},
        logging: {},
      },
    },
  );
  const session: Session = { server, level: 'info', subscriptions: new Set() };
  world.sessions.add(session);
  server.onclose = () => world.sessions.delete(session);
  serveTools(server, session, world);
  serveContents(server, world);
  serveSettings(server, session);
  return server;
}

function serveTools(server: Server, session: Session, world: World): void {
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: listTools(world) }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) =>
    callTool(params.name, { args: params.arguments ?? {}, extra, session, world }),
  );
}

function serveContents(server: Server, world: World): void {
  server.setRequestHandler(ListPromptsRequestSchema, () => ({ prompts: listPrompts(world) }));
  server.setRequestHandler(GetPromptRequestSchema, ({ params }, extra) =>
    params.name === ASKING_PROMPT.name ? askForContext(extra) : getPrompt(params.name, params.arguments),
  );
  server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: [...RESOURCES] }));
  server.setRequestHandler(ListResourceTemplatesRequestSchema, () => ({ resourceTemplates: [...TEMPLATES] }));
  server.setRequestHandler(ReadResourceRequestSchema, ({ params }) => readResource(params.uri, world));
  server.setRequestHandler(CompleteRequestSchema, ({ params }) => complete(params));
}

function serveSettings(server: Server, session: Session): void {
  const { subscriptions } = session;
  server.setRequestHandler(SetLevelRequestSchema, ({ params }) => {
    session.level = params.level;
    return {};
  });
  server.setRequestHandler(SubscribeRequestSchema, ({ params }) => {
    if (subscriptions.size >= MAX_SUBSCRIPTIONS) throw new McpError(ErrorCode.InvalidRequest, 'Too many subscriptions');
    subscriptions.add(params.uri);
    return {};
  });
  server.setRequestHandler(UnsubscribeRequestSchema, ({ params }) => {
    subscriptions.delete(params.uri);
    return {};
  });
}

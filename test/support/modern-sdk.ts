/**
 * A server on the official SDK of 2026-07-28: a referee of what the hub says to servers of that era. Over HTTP as a
 * module, over stdio as a program: `node test/support/modern-sdk.ts [serve|reject]` (what it does with clients of the
 * 2025 dates).
 * Tools: echo{text}, report{text, steps} (progress that says the text), place{region} (declares a header), ask (roots
 * and a name, then a colour), wait (until it is called off), grow (one tool more), touch{uri}. Resource: note://one.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type NodeIncomingMessageLike, toNodeHandler } from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  inputRequired,
  McpServer,
  type McpServerFactory,
  type ServerContext,
  type ServerNotifier,
} from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

interface World {
  /** Names of tools that were added. */
  readonly grown: string[];
  /** Calls of `wait` that were called off. */
  calledOff: number;
  waiting: number;
  notify: ServerNotifier | undefined;
}

function said(text: string) {
  return { content: [{ type: 'text' as const, text }] };
}

interface Answers {
  readonly where?: { readonly roots?: readonly { readonly uri: string }[] };
  readonly who?: { readonly content?: { readonly name?: string } };
  readonly colour?: { readonly content?: { readonly colour?: string }; readonly action?: string };
}

/** Two rounds; what is known so far travels in the state. */
function ask({ mcpReq }: ServerContext) {
  const answers = (mcpReq.inputResponses ?? {}) as Answers;
  const elicit = (message: string, field: string) =>
    inputRequired.elicit({ message, requestedSchema: { type: 'object', properties: { [field]: { type: 'string' } } } });
  const state = mcpReq.requestState() as string | undefined;
  if (state === undefined)
    return inputRequired({
      inputRequests: { where: inputRequired.listRoots(), who: elicit('Who?', 'name') },
      requestState: 'first',
    });
  if (state === 'first') {
    const known = `${answers.who?.content?.name} at ${answers.where?.roots?.map(({ uri }) => uri).join()}`;
    return inputRequired({ inputRequests: { colour: elicit('Which?', 'colour') }, requestState: known });
  }
  return said(`${state} likes ${answers.colour?.content?.colour ?? answers.colour?.action}`);
}

async function report({ text, steps }: { text: string; steps: number }, { mcpReq }: ServerContext) {
  const progressToken = mcpReq._meta?.progressToken;
  for (let progress = 1; progressToken !== undefined && progress <= steps; progress += 1)
    await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, message: text } });
  return said(text);
}

function wait(world: World, { mcpReq }: ServerContext) {
  world.waiting += 1;
  return new Promise<ReturnType<typeof said>>((done) => {
    mcpReq.signal.addEventListener('abort', () => {
      world.waiting -= 1;
      world.calledOff += 1;
      done(said('called off'));
    });
  });
}

function factoryOf(world: World): McpServerFactory {
  return () => {
    const capabilities = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } };
    const server = new McpServer({ name: 'modern-sdk', version: '1.0.0' }, { capabilities });
    const text = z.object({ text: z.string() });
    server.registerTool('echo', { inputSchema: text }, async (args) => said(args.text));
    server.registerTool('report', { inputSchema: text.extend({ steps: z.number() }) }, report);
    const region = z.string().meta({ 'x-mcp-header': 'Region' });
    server.registerTool('place', { inputSchema: z.object({ region }) }, async (args) => said(args.region));
    server.registerTool('ask', {}, async (context) => ask(context));
    server.registerTool('wait', {}, async (context) => wait(world, context));
    const register = (name: string) => server.registerTool(name, {}, async () => said(name));
    server.registerTool('grow', {}, async () => {
      const name = `grown_${world.grown.length}`;
      world.grown.push(name);
      // Over HTTP each request has an instance of its own; over stdio this one stays, and tells of it by itself.
      if (world.notify) world.notify.toolsChanged();
      else register(name);
      return said('grown');
    });
    server.registerTool('touch', { inputSchema: z.object({ uri: z.string() }) }, async ({ uri }) => {
      if (world.notify) world.notify.resourceUpdated(uri);
      else await server.server.sendResourceUpdated({ uri });
      return said('touched');
    });
    for (const name of world.grown) register(name);
    server.registerResource('one', 'note://one', {}, async (uri) => ({ contents: [{ uri: uri.href, text: 'one' }] }));
    return server;
  };
}

export interface ModernSdk extends AsyncDisposable {
  readonly url: string;
  /** What it found wrong with requests. */
  readonly complaints: readonly string[];
  readonly calledOff: () => number;
  readonly waiting: () => number;
}

/** `legacy` = what it does with clients of the 2025 dates. */
export async function startModernSdk(legacy: 'stateless' | 'reject'): Promise<ModernSdk> {
  const world: World = { grown: [], calledOff: 0, waiting: 0, notify: undefined };
  const complaints: string[] = [];
  const handler = createMcpHandler(factoryOf(world), { legacy, onerror: ({ message }) => complaints.push(message) });
  world.notify = handler.notify;
  const serve = toNodeHandler(handler);
  const server = createServer((request, response) => void serve(request as NodeIncomingMessageLike, response));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    complaints,
    calledOff: () => world.calledOff,
    waiting: () => world.waiting,
    async [Symbol.asyncDispose]() {
      await handler.close();
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

if (process.argv[1] === import.meta.filename)
  serveStdio(factoryOf({ grown: [], calledOff: 0, waiting: 0, notify: undefined }), {
    legacy: process.argv[2] === 'reject' ? 'reject' : 'serve',
  });

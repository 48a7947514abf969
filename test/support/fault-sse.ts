/**
 * A small HTTP+SSE (2024-11-05) server on raw node:http (no SDK) that can misbehave. Flags may be changed while it
 * runs. Tools: echo {text} · sleep (never answers by itself). Normal behaviour: endpoint event, 202 to each POST,
 * answers on the stream.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface FaultSseFlags {
  /** What the endpoint event says; default the relative path. null = no such event. */
  endpoint?: string | null;
  /** Written instead of the head of the stream. */
  get?: 'ok' | 'html' | 'status' | 'silent' | 'ends' | 'coded';
  getStatus?: number;
  /** The first event is a message. */
  messageFirst?: boolean;
  /** Line ends of the stream. */
  newline?: '\n' | '\r' | '\r\n';
  /** Each answer's JSON over many data lines, with comments and unknown fields between. */
  pretty?: boolean;
  /** Answers to POSTs of tools/call (and of what `postMethods` names). */
  postStatus?: number;
  postBody?: string;
  postMethods?: readonly string[];
  /** The POST of tools/call is never answered, nor is the call. */
  postHangs?: boolean;
  /** The call is answered on the stream, its POST never. */
  postLate?: boolean;
  /** Every reply is in the answer of its POST, and not on the stream; `both` = there too. */
  postReplies?: 'json' | 'sse' | 'accepted' | 'both';
  /** Between the head of such an answer and its body, ms. */
  postReplyMs?: number;
  /** The POST's body goes on without end after its 202. */
  postFloods?: boolean;
  /** The stream ends when a tools/call comes. */
  endsInCall?: boolean;
  /** An event without end follows a tools/call. */
  endlessEvent?: boolean;
  /** A comment each so many ms from a tools/call on, and no answer. */
  dripMs?: number;
  /** Takes tools/call and ping, and answers neither. */
  mute?: boolean;
  /** Answers nothing but initialize. */
  silent?: boolean;
  /** Paths without a final slash are redirected (307) to the same with one. */
  slash?: boolean;
  /** An event that is no JSON before each answer. */
  garbage?: boolean;
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly name?: string; readonly arguments?: { readonly text?: string } };
}

export interface FaultSse extends AsyncDisposable {
  readonly url: string;
  readonly origin: string;
  readonly flags: FaultSseFlags;
  /** Methods as they came. */
  readonly order: string[];
  readonly streams: () => number;
  /** Ends all streams. */
  readonly endStreams: () => void;
  /** POSTs whose answer has not ended. */
  readonly openPosts: () => number;
}

export async function startFaultSse(flags: FaultSseFlags = {}): Promise<FaultSse> {
  const order: string[] = [];
  const streams = new Set<ServerResponse>();
  const timers = new Set<NodeJS.Timeout>();
  const sockets = new Set<Socket>();
  let posts = 0;

  function every(ms: number, response: ServerResponse, run: () => void): void {
    const timer = setInterval(run, ms);
    timers.add(timer);
    response.on('close', () => clearInterval(timer));
  }

  function lines(...fields: string[]): string {
    const end = flags.newline ?? '\n';
    return fields.map((field) => `${field}${end}`).join('') + end;
  }

  function event(message: object): string {
    if (!flags.pretty) return lines('event: message', `data: ${JSON.stringify(message)}`);
    const parts = JSON.stringify(message, undefined, 2).split('\n');
    return lines(': a comment', 'colour: blue', ...parts.map((part) => `data: ${part}`));
  }

  function serveGet(response: ServerResponse): void {
    const { get = 'ok', endpoint = '/messages?s=1' } = flags;
    if (get === 'silent') return;
    if (get === 'status') {
      response.writeHead(flags.getStatus ?? 503, { 'content-type': 'text/plain' }).end('no stream here');
      return;
    }
    const coding = get === 'coded' ? { 'content-encoding': 'coded' } : {};
    response.writeHead(200, { 'content-type': get === 'html' ? 'text/html' : 'text/event-stream', ...coding });
    if (get === 'ends') {
      response.end(': bye\n\n');
      return;
    }
    streams.add(response);
    response.on('close', () => streams.delete(response));
    if (get === 'html') {
      response.write('<!doctype html><p>Welcome</p>');
      return;
    }
    response.write(lines(': hello'));
    if (flags.messageFirst) {
      response.write(event({ jsonrpc: '2.0', method: 'notifications/message', params: {} }));
      response.write(lines('event: ping', 'data: {}'));
      response.write(lines('data: connected'));
    }
    if (endpoint !== null) response.write(lines('event: endpoint', `data: ${endpoint}`));
  }

  /** The answer of the POST that is being served. */
  let posted: ServerResponse | undefined;

  function reply(response: ServerResponse, message: object): void {
    const { postReplies, postReplyMs = 0 } = flags;
    const isSse = postReplies === 'sse';
    const type = isSse ? 'text/event-stream' : 'application/json';
    response.writeHead(postReplies === 'accepted' ? 202 : 200, { 'content-type': type });
    response.flushHeaders();
    setTimeout(() => response.end(isSse ? event(message) : JSON.stringify(message)), postReplyMs).unref();
  }

  function say(message: object): void {
    if (flags.postReplies && posted) reply(posted, message);
    if (flags.postReplies && flags.postReplies !== 'both') return;
    for (const stream of streams) {
      if (flags.garbage) stream.write(lines('data: {"jsonrpc":'));
      stream.write(event(message));
    }
  }

  function servePost(response: ServerResponse, message: Message): void {
    const method = message.method ?? 'reply';
    order.push(method);
    const isHit = (flags.postMethods ?? ['tools/call']).includes(method);
    if (isHit && flags.postHangs) return;
    if (isHit && flags.postStatus !== undefined) {
      response.writeHead(flags.postStatus, { location: 'http://127.0.0.1:1/' }).end(flags.postBody ?? 'failed');
      return;
    }
    if (isHit && flags.postFloods) {
      response.writeHead(202);
      every(1, response, () => response.write('x'.repeat(64 * 1024)));
    } else if (flags.postReplies && message.id !== undefined) posted = response;
    else if (!isHit || !flags.postLate) response.writeHead(202).end('Accepted');
    if (method === 'tools/call') callTool(message);
    else if (method === 'initialize')
      say(
        result(message, {
          protocolVersion: '2024-11-05',
          capabilities: { tools: {} },
          serverInfo: { name: 'fault-sse', version: '1' },
        }),
      );
    else if (method === 'tools/list' && !flags.silent)
      say(result(message, { tools: ['echo', 'sleep'].map((name) => ({ name, inputSchema: { type: 'object' } })) }));
    else if (method === 'ping' && !flags.mute && !flags.silent) say(result(message, {}));
  }

  function callTool(message: Message): void {
    const { name, arguments: given } = message.params ?? {};
    if (flags.endsInCall) for (const stream of streams) stream.end();
    else if (flags.endlessEvent)
      for (const stream of streams) every(1, stream, () => stream.write(`data: ${'x'.repeat(256 * 1024)}\n`));
    else if (flags.dripMs !== undefined)
      for (const stream of streams) every(flags.dripMs, stream, () => stream.write(': drip\n\n'));
    else if (name !== 'sleep' && !flags.mute)
      say(result(message, { content: [{ type: 'text', text: given?.text ?? '' }] }));
  }

  const server = createServer((request: IncomingMessage, response) => {
    const [path = '', query] = (request.url ?? '').split('?');
    if (flags.slash && !path.endsWith('/')) {
      const location = `${path}/${query === undefined ? '' : `?${query}`}`;
      return void response.writeHead(307, { location }).end();
    }
    if (request.method === 'GET') return serveGet(response);
    posts += 1;
    response.on('close', () => {
      posts -= 1;
    });
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => servePost(response, JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message));
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${origin}/sse`,
    origin,
    flags,
    order,
    streams: () => streams.size,
    endStreams() {
      for (const stream of streams) stream.end();
    },
    openPosts: () => posts,
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearInterval(timer);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function result(message: Message, value: object): object {
  return { jsonrpc: '2.0', id: message.id, result: value };
}

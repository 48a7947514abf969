/**
 * The answers of the fault server: the tools as they should be, and every way of spoiling them. Its owner is
 * `fault-http.ts`.
 */
import type { ServerResponse } from 'node:http';
import type { Message, State } from './fault-http-flags.ts';

const TOOLS = ['echo', 'add', 'sleep', 'big', 'progress', 'report'];

export function later(state: State, ms: number, run: () => void): void {
  const timer = setTimeout(() => {
    state.timers.delete(timer);
    run();
  }, ms);
  state.timers.add(timer);
}

export function repeat(state: State, response: ServerResponse, ms: number, run: () => void): void {
  const timer = setInterval(run, ms);
  state.timers.add(timer);
  response.on('close', () => {
    clearInterval(timer);
    state.timers.delete(timer);
  });
}

/** True = the answer has been spoilt by a flag. */
export function spoil(state: State, response: ServerResponse, message: Message): boolean {
  const { flags } = state;
  if (flags.silent) return true;
  if (flags.trickleMs !== undefined) {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write(' ');
    repeat(state, response, flags.trickleMs, () => response.write(' '));
  } else if (flags.dripMs !== undefined) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(': drip\n\n');
    repeat(state, response, flags.dripMs, () => response.write(': drip\n\n'));
  } else if (flags.status !== undefined) response.writeHead(flags.status).end();
  else if (flags.redirectLoop || flags.redirectTo !== undefined)
    response.writeHead(302, { Location: flags.redirectTo ?? '/mcp' }).end();
  else if (flags.badGatewayBytes !== undefined) {
    response.writeHead(502, { 'Content-Type': 'text/html' });
    pour(state, response, '<html><body>Bad Gateway', 'x', flags.badGatewayBytes, '</body></html>');
  } else if (flags.hugeBytes !== undefined) {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    const head = `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":{"content":[{"type":"text","text":"`;
    pour(state, response, head, 'x', flags.hugeBytes, '"}]}}');
  } else return spoilShape(state, response, message);
  return true;
}

function spoilShape(state: State, response: ServerResponse, message: Message): boolean {
  const { flags } = state;
  const result = { jsonrpc: '2.0', id: message.id, result: { content: [] } };
  if (flags.garbage) {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"jsonrpc":"2.0","id":');
  } else if (flags.html) response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html></html>');
  else if (flags.rpcErrorStatus !== undefined)
    json(response, flags.rpcErrorStatus, {
      jsonrpc: '2.0',
      id: message.id,
      error: { code: -32602, message: 'bad arguments' },
    });
  else if (flags.wrongId) json(response, 200, { ...result, id: 999_999_999 });
  else if (flags.duplicate && flags.answer !== 'sse') json(response, 200, [result, result]);
  else if (flags.duplicate) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.end(event(result) + event(result));
  } else if (flags.endsEarly) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.end(event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'bye' } }));
  } else if (flags.cuts) {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write('{"jsonrpc":"2.0",', () => response.destroy());
  } else return false;
  return true;
}

/** Writes about `bytes` of `fill` between head and tail as fast as the reader takes it. */
function pour(state: State, response: ServerResponse, head: string, fill: string, bytes: number, tail: string): void {
  const chunk = Buffer.from(fill.repeat(64 * 1024));
  let left = bytes;
  const stallAt = bytes - (state.flags.stallAfterBytes ?? bytes);
  response.write(head);
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      if (left <= stallAt) return;
      const part = left >= chunk.length ? chunk : chunk.subarray(0, left);
      left -= part.length;
      state.seen.bytes += part.length;
      if (!response.write(part)) {
        response.once('drain', more);
        return;
      }
    }
    response.end(tail);
  };
  more();
}

export function serveRequest(state: State, response: ServerResponse, message: Message): void {
  if (message.method === 'ping') reply(state, response, message, {});
  else if (message.method === 'tools/list') reply(state, response, message, listPage(state));
  else if (message.method === 'tools/call') callTool(state, response, message);
  else json(response, 200, { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'Method not found' } });
}

function listPage(state: State): object {
  const { flags } = state;
  const extra = Array.from({ length: flags.extraTools ?? 0 }, (_, at) => `extra_${at}`);
  const tools = [...TOOLS, ...extra].map((name) => ({ name, description: name, inputSchema: { type: 'object' } }));
  return flags.endlessCursor ? { tools, nextCursor: 'again' } : { tools };
}

function callTool(state: State, response: ServerResponse, message: Message): void {
  const { name, arguments: given = {} } = message.params ?? {};
  const text = (value: string): void => reply(state, response, message, { content: [{ type: 'text', text: value }] });
  state.seen.executions += 1;
  state.flags.executed?.(message);
  if (name === 'echo') text(String(given.text ?? ''));
  else if (name === 'add') text(String(Number(given.a) + Number(given.b)));
  else if (name === 'sleep') later(state, Number(given.ms ?? 0), () => text('slept'));
  else if (name === 'big') text('x'.repeat(Number(given.bytes ?? 0)));
  else if (name === 'progress') progress(state, response, message, Number(given.steps ?? 3), Number(given.ms ?? 10));
  else if (name === 'report') report(state, response, message);
  else reply(state, response, message, { isError: true, content: [{ type: 'text', text: 'unknown tool' }] });
}

function progress(state: State, response: ServerResponse, message: Message, steps: number, ms: number): void {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const progressToken = message.params?._meta?.progressToken;
  let step = 0;
  const next = (): void => {
    step += 1;
    if (response.destroyed) return;
    if (step <= steps) {
      response.write(
        event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: step } }),
      );
      later(state, ms, next);
    } else {
      const result = { content: [{ type: 'text', text: 'done' }] };
      response.end(event({ jsonrpc: '2.0', id: message.id, result }));
    }
  };
  next();
}

/** What belongs to one caller and must reach no other; see `fault-stdio.ts`. */
function report(state: State, response: ServerResponse, message: Message): void {
  const { arguments: given = {}, _meta } = message.params ?? {};
  const [steps = 0, ms = 0, late = 0] = [given.steps, given.ms, given.late].map((value) => Number(value ?? 0));
  const progressToken = _meta?.progressToken;
  const raw = message.raw ?? '';
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const say = (progress: number): void => {
    const params = { progressToken, progress, total: steps, message: given.text };
    const line = event({
      jsonrpc: '2.0',
      method: 'notifications/message',
      params: { level: 'warning', data: given.text },
    });
    if (progressToken !== undefined)
      response.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params }));
    response.write(line);
    for (const stream of state.streams) stream.write(line);
  };
  let step = 0;
  const next = (): void => {
    step += 1;
    if (response.destroyed) return;
    if (step <= steps) {
      say(step);
      if (ms === 0) setImmediate(next);
      else later(state, ms, next);
      return;
    }
    const text = raw.slice(raw.indexOf('"arguments":') + '"arguments":'.length, -'}}'.length);
    response.write(event({ jsonrpc: '2.0', id: message.id, result: { content: [{ type: 'text', text }] } }));
    for (let more = step; more < step + late; more += 1) say(more);
    response.end();
  };
  next();
}

export function reply(state: State, response: ServerResponse, message: Message, result: object): void {
  const answer = { jsonrpc: '2.0', id: message.id, result };
  if (state.flags.answer !== 'sse') {
    json(response, 200, answer);
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write(event(answer));
  if (!state.flags.lingers) response.end();
}

export function json(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
    .end(text);
}

export function event(message: object): string {
  return `event: message\ndata: ${JSON.stringify(message)}\n\n`;
}

/**
 * A stdio server whose list grows: `grow` adds the tools `t1`, `t2` … one at a time and tells of it, and the others answer `called`.
 */
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string; readonly name?: string };
}

const tools = ['grow'];

function resultOf({ method, params }: Message): object | undefined {
  const serverInfo = { name: 'growing', version: '1' };
  if (method === 'initialize')
    return { protocolVersion: params?.protocolVersion, capabilities: { tools: { listChanged: true } }, serverInfo };
  if (method === 'tools/list') return { tools: tools.map((name) => ({ name, inputSchema: { type: 'object' } })) };
  if (method === 'tools/call') return { content: [{ type: 'text', text: 'called' }] };
  return method === 'ping' ? {} : undefined;
}

const send = (message: object): void =>
  void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line) as Message;
  if (message.id === undefined) return;
  if (message.method === 'tools/call' && message.params?.name === 'grow') {
    tools.push(`t${tools.length}`);
    send({ method: 'notifications/tools/list_changed' });
  }
  const result = resultOf(message);
  send({ id: message.id, ...(result ? { result } : { error: { code: -32601, message: 'not known' } }) });
});

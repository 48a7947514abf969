/**
 * A stdio server whose lists grow: each call of `grow` adds the tool `t1`, the prompt `p1`, the resource
 * `grow:///<name>/r1` and the template `grow:///<name>/m1/{x}`, then `t2` …, and notifies the client; everything else
 * is answered with `called`.
 */
import { createInterface } from 'node:readline';

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly protocolVersion?: string; readonly name?: string; readonly uri?: string };
}

const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  completions: {},
};
/** In its URIs: `node test/support/growing-stdio.ts <name>`. */
const own = process.argv[2] ?? 'growing';
let grown = 0;

/** Returns one item for each call of `grow`. */
const items = (make: (nth: number) => object): object[] => Array.from({ length: grown }, (_, at) => make(at + 1));
const tool = (name: string): object => ({ name, inputSchema: { type: 'object' } });

function resultOf({ method, params }: Message): object | undefined {
  const serverInfo = { name: 'growing', version: '1' };
  if (method === 'initialize')
    return { protocolVersion: params?.protocolVersion, capabilities: CAPABILITIES, serverInfo };
  const called = { type: 'text', text: 'called' };
  switch (method) {
    case 'tools/list':
      return { tools: [tool('grow'), ...items((nth) => tool(`t${nth}`))] };
    case 'prompts/list':
      return { prompts: items((nth) => ({ name: `p${nth}` })) };
    case 'resources/list':
      return { resources: items((nth) => ({ uri: `grow:///${own}/r${nth}`, name: `r${nth}` })) };
    case 'resources/templates/list':
      return { resourceTemplates: items((nth) => ({ uriTemplate: `grow:///${own}/m${nth}/{x}`, name: `m${nth}` })) };
    case 'tools/call':
      return { content: [called] };
    case 'prompts/get':
      return { messages: [{ role: 'user', content: called }] };
    case 'resources/read':
      return { contents: [{ uri: params?.uri, text: 'called' }] };
    case 'completion/complete':
      return { completion: { values: ['called'] } };
    case 'ping':
    case 'resources/subscribe':
      return {};
    default:
      return undefined;
  }
}

const send = (message: object): void =>
  void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line) as Message;
  if (message.id === undefined) return;
  if (message.method === 'tools/call' && message.params?.name === 'grow') {
    grown += 1;
    for (const kind of ['tools', 'prompts', 'resources']) send({ method: `notifications/${kind}/list_changed` });
  }
  const result = resultOf(message);
  send({ id: message.id, ...(result ? { result } : { error: { code: -32601, message: 'not known' } }) });
});

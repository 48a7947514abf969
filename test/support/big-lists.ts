/**
 * A Streamable HTTP server whose tools/list is as large as asked for: tools with schemas of about 16 KiB each.
 * Answers initialize, ping, tools/list and tools/call (an empty result).
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const SCHEMA_BYTES = 16_384;

export interface BigLists extends AsyncDisposable {
  readonly url: string;
}

export async function startBigLists(bytes: number): Promise<BigLists> {
  const tools = Array.from({ length: Math.ceil(bytes / SCHEMA_BYTES) }, (_, at) => ({
    name: `tool_${at}`,
    inputSchema: { type: 'object', properties: { [`p${at}`]: { const: 'x'.repeat(SCHEMA_BYTES) } } },
  }));
  const results: Readonly<Record<string, string>> = {
    initialize: JSON.stringify({
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'big', version: '1' },
    }),
    'tools/list': JSON.stringify({ tools }),
    'tools/call': '{"content":[]}',
    ping: '{}',
  };
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      if (request.method !== 'POST') return void response.writeHead(405).end();
      const { id, method } = JSON.parse(text) as { id?: unknown; method: string };
      const result = results[method];
      if (id === undefined) response.writeHead(202).end();
      else {
        response.writeHead(200, { 'content-type': 'application/json' });
        const refused = '"error":{"code":-32601,"message":"no such method"}';
        response.end(
          `{"jsonrpc":"2.0","id":${JSON.stringify(id)},${result === undefined ? refused : `"result":${result}`}}`,
        );
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/**
 * Runs in a browser (`browser.ts`): SDK v2 connects to the hub, lists, calls, receives progress and cancels; then the page reads an error, its
 * Retry-After and the health page by plain fetch. Reports what it saw.
 */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

interface Given {
  readonly url: string;
  readonly key: string;
  readonly options: object;
}

// biome-ignore lint/suspicious/noExplicitAny: the page sets both
const page = globalThis as any;

async function use({ url, key, options }: Given): Promise<object> {
  const client = new Client({ name: 'page', version: '1' }, options);
  const requestInit = { headers: { Authorization: `Bearer ${key}`, 'X-Custom': 'of the page' } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
  const { tools } = await client.listTools();
  const echoed = await client.callTool({ name: 'fault_echo', arguments: { text: 'from a page' } });
  const progress: number[] = [];
  await client.callTool(
    { name: 'fault_report', arguments: { steps: 3, ms: 50, text: 'x' } },
    { onprogress: (one) => progress.push(one.progress) },
  );
  const abort = new AbortController();
  const slow = client.callTool({ name: 'fault_sleep', arguments: { ms: 30_000 } }, { signal: abort.signal });
  setTimeout(() => abort.abort('enough'), 500);
  const cancelled = await slow.then(
    () => false,
    () => true,
  );
  const after = await client.callTool({ name: 'fault_echo', arguments: { text: 'after' } });
  await client.close();
  const refused = await fetch(`${url}/mcp`, {
    method: 'POST',
    body: '{}',
    headers: { 'Content-Type': 'application/json' },
  });
  const health = await fetch(`${url}/health`);
  return {
    tools: tools.map(({ name }) => name),
    progress,
    cancelled,
    texts: [echoed, after].map(({ content }) => (content as { text: string }[])[0]?.text),
    refused: [
      refused.status,
      refused.headers.get('www-authenticate'),
      ((await refused.json()) as { jsonrpc?: string }).jsonrpc,
    ],
    health: [health.status, ((await health.json()) as { status?: string }).status],
  };
}

use(page.given).then(page.report, (fault: Error) => page.report({ fault: String(fault.stack ?? fault) }));

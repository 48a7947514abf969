/**
 * `mcphub tools list
 * call`: uses the endpoint of a worker on its private socket, like any client.
 */

import { CliFailure, EXIT } from '../operator/exit.ts';
import { type HubConnection, type HubOptions, hubConnectionFrom } from '../operator/hub-options.ts';
import { askHub, bodyOf } from '../operator/hub-request.ts';
import { print, printJson, printMessage, table, withProgress } from '../operator/output.ts';
import { plain } from '../operator/printable.ts';

interface RpcBody {
  readonly result?: {
    readonly tools?: readonly Tool[];
    readonly content?: readonly Content[];
    readonly isError?: boolean;
    readonly _meta?: Record<string, unknown>;
  };
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

interface Tool {
  readonly name: string;
  readonly description?: string;
}

interface Content {
  readonly type: string;
  readonly text?: string;
  readonly mimeType?: string;
}

export async function listTools(path: string | undefined, options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const body = await rpc(hub, path, 'tools/list', {});
  if (hub.json) {
    printJson(body.result);
    return;
  }
  const rows = body.result?.tools ?? [];
  print(
    table(
      ['TOOL', 'DESCRIPTION'],
      rows.map((tool) => [plain(tool.name), plain((tool.description ?? '').split('\n')[0]?.slice(0, 100) ?? '')]),
    ),
  );
  printMessage(`${rows.length} tools`);
}

interface CallOptions extends HubOptions {
  readonly argsJson?: string;
}

export async function callTool(tool: string, pairs: readonly string[], options: CallOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const args = options.argsJson === undefined ? argumentsFrom(pairs) : objectFrom(options.argsJson);
  const body = await withProgress(`calling ${tool}`, () =>
    rpc(hub, undefined, 'tools/call', { name: tool, arguments: args }),
  );
  if (hub.json) printJson(body.result);
  else
    for (const part of body.result?.content ?? [])
      print(
        part.text === undefined ? plain(`[${part.type}${part.mimeType ? ` ${part.mimeType}` : ''}]`) : plain(part.text),
      );
  if (body.result?.isError) throw new CliFailure(EXIT.toolError, `${tool} returned an error.`);
}

function argumentsFrom(pairs: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at <= 0)
        throw new CliFailure(
          EXIT.usage,
          `Arguments must be name=value, not ${JSON.stringify(pair)}; or use --args-json '{…}'.`,
        );
      return [pair.slice(0, at), valueFrom(pair.slice(at + 1))];
    }),
  );
}

/** Parses a value: `5` is a number, `true` a boolean, `{"a":1}` an object; text that is not JSON is a string. */
function valueFrom(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function objectFrom(json: string): unknown {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (fault) {
    throw new CliFailure(EXIT.usage, `--args-json is not JSON: ${fault instanceof Error ? fault.message : fault}`);
  }
  throw new CliFailure(EXIT.usage, '--args-json must be one JSON object.');
}

async function rpc(hub: HubConnection, path: string | undefined, method: string, params: unknown): Promise<RpcBody> {
  const where = path === undefined ? '/mcp' : `/mcp/${encodeURIComponent(path)}`;
  const asked = await askHub(hub.address, 1, {
    method: 'POST',
    path: where,
    body: { jsonrpc: '2.0', id: 1, method, params },
    timeoutMs: hub.timeoutMs,
  });
  const body = asked.body as RpcBody;
  if (body?.error === undefined) return bodyOf<RpcBody>(asked);
  const code = body.error.code === -32602 || asked.status === 404 ? EXIT.notFound : EXIT.error;
  throw new CliFailure(
    code,
    body.error.data === undefined ? body.error.message : `${body.error.message}\n${JSON.stringify(body.error.data)}`,
  );
}

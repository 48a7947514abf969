/**
 * Requests of the stateless era (2026-07-28) as they lie on the wire, without an SDK: each says who its client is and
 * what it can do.
 */
import { request } from 'node:http';
import { post, type RpcAnswer } from './mcp.ts';
import { Reading } from './sse-client.ts';

export const MODERN = '2026-07-28';
const PREFIX = 'io.modelcontextprotocol/';
const BOTH = 'application/json, text/event-stream';

export interface StatelessOptions {
  readonly key: string;
  readonly id?: number | string;
  /** Default: everything. */
  readonly capabilities?: object;
  readonly logLevel?: string;
  /** In place of those that belong to the request; undefined = left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs?: number;
}

export interface StatelessParams {
  readonly name?: string;
  readonly uri?: string;
  readonly _meta?: object;
  readonly [key: string]: unknown;
}

export function statelessBody(method: string, params: StatelessParams, options: Omit<StatelessOptions, 'key'>): object {
  const { capabilities = { elicitation: {}, sampling: {}, roots: {} }, logLevel, id = 1 } = options;
  const meta = {
    ...params._meta,
    [`${PREFIX}protocolVersion`]: MODERN,
    [`${PREFIX}clientCapabilities`]: capabilities,
    [`${PREFIX}clientInfo`]: { name: 'wire', version: '1' },
    ...(logLevel === undefined ? {} : { [`${PREFIX}logLevel`]: logLevel }),
  };
  return { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } };
}

export function statelessHeaders(
  method: string,
  { name, uri }: StatelessParams,
  own: StatelessOptions['headers'] = {},
) {
  const named = name ?? uri;
  const all = {
    accept: BOTH,
    'mcp-protocol-version': MODERN,
    'mcp-method': method,
    ...(named === undefined ? {} : { 'mcp-name': named }),
    ...own,
  };
  return Object.fromEntries(Object.entries(all).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])));
}

export function stateless(
  url: string,
  method: string,
  params: StatelessParams,
  options: StatelessOptions,
): Promise<RpcAnswer> {
  const { key, headers, timeoutMs } = options;
  return post(url, statelessBody(method, params, options), {
    ...{ key, headers: statelessHeaders(method, params, headers) },
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
}

/** A request whose answer is a stream, with the id `sub-1`; `path` = where it is sent. */
export function openStateless(
  hub: { readonly port: number; readonly key: string },
  method: string,
  params: StatelessParams,
  path = '/mcp',
): Reading {
  const sent = request({
    ...{ host: '127.0.0.1', port: hub.port, path, method: 'POST', agent: false },
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${hub.key}`,
      ...statelessHeaders(method, params),
    },
  });
  const reading = new Reading(sent);
  sent.end(JSON.stringify(statelessBody(method, params, { id: 'sub-1' })));
  return reading;
}

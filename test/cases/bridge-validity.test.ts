/**
 * A bridge to a hub that sends invalid messages (another version, a proxy that changes texts) writes valid ones, one a
 * line.
 */
// case: CL30
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { StrictBridge } from '../support/strict-client.ts';

/** Answers to tools/call by the name of the tool, in bytes of latin1, where @ID@ stands for the id. */
const ANSWERS: Readonly<Record<string, { readonly text: string; readonly isStream?: boolean }>> = {
  pretty: { text: '{\r\n"jsonrpc":"2.0",\n"id":@ID@,\n"result":{"a":1}}' },
  cp949: { text: '{"jsonrpc":"2.0","id":@ID@,"result":{"a":"\xc7\xd1"}}' },
  half: { text: '{"jsonrpc":"2.0","id":@ID@,"result":{"a":"\\ud83d"}}' },
  'line-end': { text: '{"jsonrpc":"2.0","id":@ID@,"result":{"a":"x\ny"}}' },
  'no-object': { text: '{"jsonrpc":"2.0","id":@ID@,"result":5}' },
  error: { text: '{"jsonrpc":"2.0","id":@ID@,"error":{"code":"E"}}' },
  stream: {
    isStream: true,
    text: 'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"\\q"}}\n\ndata: {"jsonrpc":"2.0","id":@ID@,"result":{"a":"\xe9"}}\n\n',
  },
};

interface Message {
  readonly id?: number;
  readonly method: string;
  readonly params?: { readonly name?: string };
}

function answer(response: ServerResponse, { id, method, params }: Message): void {
  const { text, isStream = false } = ANSWERS[params?.name ?? ''] ?? { text: '{"jsonrpc":"2.0","id":@ID@,"result":{}}' };
  if (id === undefined) return void response.writeHead(202).end();
  const session = method === 'initialize' ? { 'mcp-session-id': 's' } : {};
  response.writeHead(200, { 'content-type': isStream ? 'text/event-stream' : 'application/json', ...session });
  response.end(Buffer.from(text.replaceAll('@ID@', String(id)), 'latin1'));
}

test('writes valid messages only, and answers every request', { timeout: 60_000 }, async () => {
  const hub = createServer((request, response) => {
    if (request.method !== 'POST') return void response.writeHead(405).end();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => answer(response, JSON.parse(Buffer.concat(chunks).toString('utf8')) as Message));
  });
  await new Promise<void>((done) => hub.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(hub.address() as AddressInfo).port}/mcp`;
  const bridge = await new StrictBridge({ url, key: 'mch_x' }).open();
  const read: Record<string, unknown> = {};
  for (const [at, name] of Object.keys(ANSWERS).entries()) {
    const { reply } = await bridge.ask({ jsonrpc: '2.0', id: at + 1, method: 'tools/call', params: { name } });
    read[name] = reply?.error?.code ?? reply?.result?.a;
  }
  assert.deepEqual(read, {
    ...{ pretty: 1, cp949: '\ufffd\ufffd', half: '\ufffd', stream: '\ufffd' },
    ...{ 'line-end': -32603, 'no-object': -32603, error: -32603 },
  });
  bridge.close();
  hub.closeAllConnections();
  hub.close();
});

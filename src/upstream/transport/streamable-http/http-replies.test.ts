/**
 * A reply may come in several places; its request is closed in each case.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { callParams, httpRig } from '../../../../test/support/http-rig.ts';
import { type RawRequest, reply, startRawServer } from '../../../../test/support/raw-http.ts';

const JSON_TYPE = 'content-type: application/json';

test('closes a request that its server leaves open when the reply has come on the GET stream', async () => {
  let stream: Socket | undefined;
  let call: RawRequest | undefined;
  const server = await startRawServer((request) => {
    const { socket, line, body } = request;
    if (line.startsWith('GET')) {
      stream = socket;
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n:\n\n');
      return;
    }
    if (line.startsWith('DELETE')) return void socket.write(reply(''));
    const { id, method } = JSON.parse(body.toString()) as { id?: number; method: string };
    if (method === 'initialize') {
      const result = { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: { name: 's', version: '1' } };
      socket.write(reply(JSON.stringify({ jsonrpc: '2.0', id, result }), JSON_TYPE));
    } else if (id === undefined) socket.write('HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n');
    else call = request;
  });
  const rig = await httpRig(`http://127.0.0.1:${server.port}/mcp`);
  try {
    await rig.shakeHands();
    await rig.until(() => stream !== undefined, 'the GET stream');
    const id = rig.begin('tools/call', callParams('echo', {}));
    await rig.until(() => call !== undefined, 'the call');
    stream?.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } })}\n\n`);
    await rig.until(
      () =>
        rig.told.some(
          (one) => one.kind === 'message' && one.text.includes('"result"') && one.text.includes(`"id":${id}`),
        ),
      'the reply',
    );
    await rig.until(() => call?.socket.destroyed === true, 'the end of its request');
    assert.ok(!rig.told.some(({ kind }) => kind === 'failed'));
  } finally {
    await rig.close();
    await server.close();
  }
});

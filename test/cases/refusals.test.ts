/**
 * Every refusal leaves a trace: a log line that says who, where and why, a count, and a line in doctor; limited for
 * each address.
 */
// case: CL4
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { rawExchange } from '../support/raw-client.ts';

interface Case {
  readonly name: string;
  readonly code: string;
  readonly status: number;
  readonly head: readonly string[];
  readonly body?: string;
}

const PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}';

describe('a refused request', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  before(async () => {
    hub = await startHub({
      config: { mcpServers: {} },
      env: { MCPHUB_REFUSAL_LINES_PER_ADDRESS: '100', MCPHUB_BODY_BYTES: '65536' },
    });
  });
  after(() => hub?.[Symbol.asyncDispose]());

  function cases(): readonly Case[] {
    const key = `Authorization: Bearer ${hub.key}`;
    const json = 'Content-Type: application/json';
    const host = 'Host: localhost';
    const post = 'POST /mcp HTTP/1.1';
    return [
      {
        name: 'foreign Host',
        code: 'host-refused',
        status: 403,
        head: [post, 'Host: mcphub:3000', key, json],
        body: PING,
      },
      {
        name: 'foreign Origin',
        code: 'origin-refused',
        status: 403,
        head: [post, host, key, json, 'Origin: https://evil.example'],
        body: PING,
      },
      { name: 'no key', code: 'unauthorized', status: 401, head: [post, host, json], body: PING },
      {
        name: 'media type',
        code: 'media-type',
        status: 415,
        head: [post, host, key, 'Content-Type: text/plain'],
        body: PING,
      },
      { name: 'no JSON', code: 'parse-error', status: 400, head: [post, host, key, json], body: '{' },
      { name: 'no message', code: 'invalid-request', status: 400, head: [post, host, key, json], body: '{"id":1}' },
      {
        name: 'unknown session',
        code: 'session-unknown',
        status: 404,
        head: [post, host, key, json, 'Mcp-Session-Id: nobody'],
        body: PING,
      },
      {
        name: 'unknown date',
        code: 'invalid-request',
        status: 400,
        head: [post, host, key, json, 'MCP-Protocol-Version: 1999-01-01'],
        body: PING,
      },
      {
        name: 'unknown group',
        code: 'not-found',
        status: 404,
        head: ['POST /mcp/nobody HTTP/1.1', host, key, json],
        body: PING,
      },
      { name: 'unknown path', code: 'not-found', status: 404, head: ['GET /nothing?key=hidden HTTP/1.1', host] },
      {
        name: 'too large',
        code: 'body-too-large',
        status: 413,
        head: [post, host, key, json, 'Content-Length: 999999'],
      },
      { name: 'malformed', code: 'http-malformed', status: 400, head: ['POST /mcp HTTP/9.9', host] },
      { name: 'method', code: 'method-not-allowed', status: 405, head: ['PUT /mcp HTTP/1.1', host, key] },
    ];
  }

  const counts = async (): Promise<Record<string, number>> => {
    const answer = await fetch(`${hub.url}/api/health`, { headers: { authorization: `Bearer ${hub.key}` } });
    return ((await answer.json()) as { counts?: Record<string, number> }).counts ?? {};
  };

  test('has a log line and a count, with its code', async () => {
    for (const { name, code, status, head, body = '' } of cases()) {
      const before = (await counts())[`refused.${code}`] ?? 0;
      const lines = [...head, 'User-Agent: trace/1', 'Connection: close'];
      if (body !== '') lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
      const { answers } = await rawExchange({ port: hub.port }, [`${lines.join('\r\n')}\r\n\r\n${body}`]);
      assert.equal(answers[0]?.status, status, `${name}: ${answers[0]?.body}`);
      await until(
        async () => (await counts())[`refused.${code}`] === before + 1,
        3000,
        `${name}: the count of ${code}`,
      );
    }
    for (const { name, code } of cases())
      await until(
        () => new RegExp(`"event":"request-refused".*"code":"${code}"`).test(hub.log),
        3000,
        `${name}: the log line`,
      );
    const { log } = hub;
    assert.match(log, /"path":"\/nothing"/);
    assert.doesNotMatch(log, /key=hidden/);
    assert.match(log, /"client":"trace\/1"/);
    assert.match(log, /mcphub:3000/, 'the name that is not allowed');
  });

  test('is named by doctor with what to do about it', async () => {
    const { stdout } = await mcphub(['doctor', '--data-dir', hub.dataDir]);
    assert.match(stdout, /requests refused since start: \d+/);
  });
});

/**
 * Clients that send invalid UTF-8, halves of surrogate pairs and broken JSON get answers that the strictest client can
 * read.
 */
// case: CL30

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHub } from '../support/hub.ts';
import { mutated, randomFrom } from '../support/mutation.ts';
import { faultServer } from '../support/real-servers.ts';
import { StrictClient } from '../support/strict-client.ts';

test('answers what clients send with valid JSON-RPC in UTF-8, whatever is in their ids, names and arguments', {
  timeout: 120_000,
}, async () => {
  await using hub = await startHub({ config: { mcpServers: { healthy: faultServer('normal') } } });

  const random = randomFrom(20_261_130);
  const seeds = [
    '{"jsonrpc":"2.0","id":"caf\xc3\xa9 @TEXT@","method":"tools/call","params":{"name":"healthy_echo","arguments":{"text":"@TEXT@"}}}',
    '{"jsonrpc":"2.0","id":"@TEXT@","method":"@TEXT@","params":{}}',
    '{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"@TEXT@","_meta":{"progressToken":"@TEXT@"}}}',
    '{"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"test://@TEXT@"}}',
    '{"jsonrpc":"2.0","id":"@TEXT@","method":"initialize","params":{"protocolVersion":"@TEXT@","capabilities":{},"clientInfo":{"name":"@TEXT@","version":"1"}}}',
    '{"jsonrpc":"2.0","id":7,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"@TEXT@"},"argument":{"name":"a","value":"@TEXT@"}}}',
  ];
  const pieces = [
    '\\ud800',
    '\\uDC00',
    '\\u12',
    '\\x',
    '\\',
    '"',
    '\t',
    '\0',
    '\xff',
    '\xc7\xd1',
    '\xed\xa0\xbd',
    '{',
    '}',
    ',',
  ];
  const bodies = Array.from({ length: 800 }, (_, at) => {
    const seed = random.pick(seeds);
    return at % 2 === 0
      ? seed.replaceAll('@TEXT@', () => mutated('text', pieces, random))
      : mutated(seed.replaceAll('@TEXT@', 'text'), pieces, random);
  });
  const alone = new StrictClient(hub);
  for (const body of bodies) {
    const { raw, reply } = await alone.ask(Buffer.from(body, 'latin1'));
    assert.ok(reply !== undefined || raw.length === 0, body);
  }
  alone.close();
});

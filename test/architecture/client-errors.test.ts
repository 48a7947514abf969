/**
 * What a client reads of an error is built by `model/client-error.ts` and framed by `protocol/write.ts`. Every other
 * file that writes the text of an error stands in a table with its reason; a new one fails, and so does a row whose
 * file does it no more.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Refusal } from '../../src/model/outcome.ts';
import { refusalFrame } from '../../src/protocol/write.ts';
import { ROOT, readTree, type SourceFile, snippet } from './_tree.ts';

/** Modules whose text can reach a client, a server or the reader of `/api`. */
const MODULES =
  /^(admin|admission|auth|bridge|call|catalog|downstream|health|model|protocol|runtime|session|subprocess|supervisor|upstream)\//;

/** Signs of an error that is built by hand. Comments are blanked in `code`, texts too in `bare`. */
const SIGNS: readonly { readonly what: string; readonly in: 'code' | 'bare'; readonly pattern: RegExp }[] = [
  { what: 'an error member in JSON text', in: 'code', pattern: /["'`{,]\s*\\?"error\\?"\s*:/ },
  { what: 'an error member of an object', in: 'bare', pattern: /[({,]\s*\{\s*error\s*[:,}]/ },
  {
    what: 'a frame of an error',
    in: 'bare',
    pattern: /(?<!function )\b(?:errorFrame|rawErrorFrame|clientError|apiError)\(/,
  },
  { what: 'a reply that is an error', in: 'code', pattern: /\bkind:\s*'error',/ },
  { what: 'a tool result that is an error', in: 'bare', pattern: /\bisError:\s*true/ },
  { what: 'a status of an error', in: 'bare', pattern: /\bwrite(?:Head|Json)\((?:\w+, )?[45]\d\d\b/ },
];

const ALLOWED: Readonly<Record<string, string>> = {
  'protocol/write.ts': 'frames what client-error.ts has built, and the errors of servers and to servers',
  'downstream/http-answer.ts': 'writes the body of the API that client-error.ts has built',
  'admin/admin-server.ts': 'writes the same for owners and the operator',
  'downstream/reply-frame.ts': 'frames the JSON-RPC error of the server that was called, byte for byte',
  'downstream/router.ts':
    'a constant for paths that do not exist, in the form of OAuth: clients look for its metadata there',
  'supervisor/connection-dispatcher.ts':
    'a constant, compared with client-error.ts below: the supervisor loads few modules',
  'protocol/answer.ts': 'shortens the JSON-RPC error of the server that was called, which is too long for a client',
  'call/dispatch.ts': 'passes on the JSON-RPC error of the server that was called',
  'call/missing-capability.ts': 'the words of the server that was called, about a capability of the client',
  'upstream/peer/peer-reply.ts': 'passes on the JSON-RPC error of a server to the worker that asked',
  'upstream/transport/http/messages.ts': 'gives the error of a server the id of the request that it answers',
  'upstream/connection/client-questions.ts': 'answers questions of servers: servers read it, not clients',
  'upstream/connection/reply-matcher.ts': 'takes the JSON-RPC error of a server as it came',
  'upstream/connection/server-requests.ts': 'answers requests of servers: servers read it, not clients',
  'upstream/era-2026/era-translation.ts': 'constants: an answer of a stateless server that cannot go on',
  'upstream/era-2026/era-transport.ts': 'a constant with the name of a method that the hub itself has sent',
  'bridge/output.ts': 'runs on the client’s machine, and says that an answer of the hub is not valid',
  'bridge/answer.ts': 'passes on the error of the hub, under the id of the request',
  'bridge/bridge.ts': 'runs on the client’s machine, and says that the hub cannot be reached',
};

function signsIn(file: SourceFile): string[] {
  return SIGNS.filter(({ in: which, pattern }) => pattern.test(file[which])).map(({ what }) => what);
}

const tree = readTree().filter(({ path }) => MODULES.test(path) && path !== 'model/client-error.ts');

test('errors that clients read are built in one place', () => {
  const found = tree.flatMap((file) =>
    Object.hasOwn(ALLOWED, file.path) ? [] : signsIn(file).map((what) => `${file.path}: ${what}`),
  );
  assert.deepEqual(found, []);
});

test('every file of the table still writes the text of an error', () => {
  for (const path of Object.keys(ALLOWED)) {
    const file = tree.find((one) => one.path === path);
    assert.ok(file && signsIn(file).length > 0, `${path} writes no error`);
  }
});

test('the refusal of the supervisor is the one that a worker would send', () => {
  const text = readFileSync(`${ROOT}src/supervisor/connection-dispatcher.ts`, 'utf8');
  const [, body = ''] = /^const UNAVAILABLE_BODY =\s+'(.+)';$/m.exec(text) ?? [];
  const { error } = JSON.parse(body) as { error: { message: string } };
  assert.equal(refusalFrame(Buffer.from('null'), new Refusal('starting', error.message)).toString(), body);
});

test('an error that is built by hand is seen', () => {
  for (const text of [
    `response.end('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}');`,
    'response.end(`{"error":"x"}`);',
    'writeJson(response, status, JSON.stringify({ error: { code, message } }));',
    'writeJson(response, status, JSON.stringify({ error }));',
    'stream.send(errorFrame(idRaw, { code: -32603, message: fault.message }));',
    "return { kind: 'error', json };",
    'return { content: [], isError: true };',
    'response.writeHead(502, HEADERS).end(String(fault));',
    'writeJson(response, 404, TEXT);',
  ])
    assert.ok(signsIn(snippet(text)).length > 0, text);
  for (const text of [
    'interface Envelope { readonly error: Span }',
    "socket.on('error', (error) => gone(error));",
    'return new Refusal(code, message);',
    '// {"error": "in a comment"}',
    'response.writeHead(200, HEADERS);',
  ])
    assert.deepEqual(signsIn(snippet(text)), [], text);
});

/** A collection of invalid files: each error is reported with its line, path and message. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './parse.ts';
import { formatProblems } from './problems.ts';

const LIMIT_MS = (range: string): string => `(expected milliseconds or a length such as "5s", from ${range})`;
const TEXT_VALUE = '(expected a text in double quotes, a number, true, false, null, { or [)';

/** Returns a file with one server that begins on line 3. */
function server(inner: string): string {
  return `{\n  "mcpServers": {\n    "a": { ${inner} }\n  }\n}`;
}

/** Returns a file with two more servers; `inner` is on line 3. */
function beside(inner: string): string {
  return `{\n  "mcpServers": { "github": { "command": "node" }, "b": { "command": "node" } },\n  ${inner}\n}`;
}

const CORPUS: readonly (readonly [name: string, text: string, ...lines: string[]])[] = [
  ['an empty file', '', '1:1 the file is empty (expected { "mcpServers": { … } })'],
  ['only a comment', '// later\n', '2:1 a value is missing here'],
  ['a truncated file', '{\n  "mcpServers": {\n    "a": { "command": "no', '3:23 a text is not closed (expected ")'],
  [
    'a missing comma',
    '{\n  "mcpServers": {\n    "a": { "command": "node" }\n    "b": { "command": "node" }\n  }\n}',
    '4:5 a comma is missing before this (expected ,)',
  ],
  [
    'two slips',
    '{\n  "mcpServers": tru,\n  "limits": { "calls": NaN }\n}',
    `2:17 is not JSON ${TEXT_VALUE}`,
    `3:24 is not JSON ${TEXT_VALUE}`,
  ],
  ['a list at the top', '[]', '1:1 the top of the file is a list (expected an object { … })'],
  ['no servers at all', '{}', '1:1 mcpServers is missing (expected an object { … })'],
  ['another program’s name', '{ "servers": {} }', '1:3 servers unknown key; did you mean "mcpServers"?'],
  ['servers as a list', '{ "mcpServers": [] }', '1:17 mcpServers is a list (expected an object { … })'],
  [
    'a mistyped key',
    server('"comand": "node"'),
    '3:12 mcpServers.a.comand unknown key in mcpServers.a; did you mean "command"?',
  ],
  [
    'another program’s key',
    server('"command": "node", "environment": {}'),
    '3:31 mcpServers.a.environment unknown key in mcpServers.a; did you mean "env"?',
  ],
  [
    'a key nobody knows',
    server('"command": "node", "zzzzzz": 1'),
    '3:31 mcpServers.a.zzzzzz unknown key in mcpServers.a',
  ],
  [
    'nothing to run',
    server('"args": ["x"]'),
    '3:5 mcpServers.a has neither command nor url (expected a command (stdio) or a url (remote))',
  ],
  [
    'command and url',
    server('"command": "node", "url": "http://x/mcp"'),
    '3:31 mcpServers.a.url does not go with a stdio server (expected either command or url; launch for a program that listens at the url)',
  ],
  [
    'a type without its url',
    server('"type": "http"'),
    '3:10 mcpServers.a.url is missing (expected a url for this type of server)',
  ],
  [
    'an unknown type',
    server('"type": "grpc", "url": "http://x"'),
    '3:20 mcpServers.a.type is "grpc" (expected "stdio", "local", "sse", "http", "streamable-http", "streamableHttp", "streamable_http", "remote", "openapi")',
  ],
  [
    'args as a text',
    server('"command": "node", "args": "x"'),
    '3:39 mcpServers.a.args is a text (expected a list [ … ])',
  ],
  [
    'wrong kinds and a bad figure in one server',
    server('"command": "node", "args": ["x", {}],\n "env": { "A": null },\n "silenceMs": 0'),
    '3:45 mcpServers.a.args[1] is an object (expected text)',
    '4:16 mcpServers.a.env.A is null (expected text)',
    `5:15 mcpServers.a.silenceMs is 0 ${LIMIT_MS('100 ms to 1 h')}`,
  ],
  [
    'a variable that is not set',
    server('"command": "node",\n "env": { "TOKEN": "Bearer ${MISSING_TOKEN}" }'),
    '4:20 mcpServers.a.env.TOKEN the variable MISSING_TOKEN is not set (expected a value in the environment, or ${MISSING_TOKEN:-a default})',
  ],
  [
    'an input of VS Code',
    server('"command": "node", "args": ["${input:key}"]'),
    '3:40 mcpServers.a.args[0] has a ${ that begins no variable (expected ${NAME}, ${NAME:-default}, or $${ for a plain ${)',
  ],
  [
    'an address without http',
    server('"url": "localhost:3000/mcp?key=sesame"'),
    '3:19 mcpServers.a.url is not a web address (expected http://… or https://…)',
  ],
  [
    'a bad header name',
    server('"url": "http://x/mcp", "headers": { "X Y": "1" }'),
    '3:48 mcpServers.a.headers["X Y"] is not a valid name of a header',
  ],
  [
    'a header in two cases',
    server('"url": "http://x/mcp", "headers": { "X-A": "1", "x-a": "2" }'),
    '3:60 mcpServers.a.headers.x-a occurs twice; names are case-insensitive',
  ],
  [
    'a header with a line break',
    server('"url": "http://x/mcp", "headers": { "X-A": "1\\r\\nX-B: sesame" }'),
    '3:55 mcpServers.a.headers.X-A contains a line break (expected one line)',
  ],
  [
    'launch beside sse',
    server('"type": "sse", "url": "http://x/sse", "launch": { "command": "node" }'),
    '3:50 mcpServers.a.launch does not go with an sse server (expected type "streamable-http")',
  ],
  [
    'a bad duration of a tool',
    server('"command": "node", "tools": { "t": { "totalMs": "5x" } }'),
    `3:60 mcpServers.a.tools.t.totalMs is "5x" ${LIMIT_MS('1 s to 1 d')}`,
  ],
  [
    'half a call',
    server('"command": "node", "inFlight": 2.5'),
    '3:43 mcpServers.a.inFlight is 2.5 (expected a whole number from 1 to 4,096)',
  ],
  [
    'on and off',
    server('"command": "node", "enabled": true, "disabled": true'),
    '3:60 mcpServers.a.disabled contradicts enabled: true (expected one of the two)',
  ],
  [
    'two names with one short form',
    '{\n  "mcpServers": {\n    "my server": { "command": "node" },\n    "my-server": { "command": "node" }\n  }\n}',
    '4:5 mcpServers.my-server has the same short name "my-server" as "my server" (expected another name)',
  ],
  [
    'one name twice',
    '{\n  "mcpServers": {\n    "a": { "command": "node" },\n    "a": { "command": "node" }\n  }\n}',
    '4:5 mcpServers.a occurs twice in the same object, first on line 3 (expected one of the two)',
  ],
  [
    'a prototype',
    '{\n  "mcpServers": {\n    "__proto__": { "command": "node" }\n  }\n}',
    '3:5 mcpServers.__proto__ this name is not allowed',
  ],
  [
    'an empty name',
    '{ "mcpServers": { "": { "command": "node" } } }',
    '1:19 mcpServers[""] "" is not a valid name (expected 1 to 200 characters, any letters)',
  ],
  [
    'a group with an unknown server',
    beside('"groups": { "g": { "servers": ["b", "gihub"] } }'),
    '3:39 groups.g.servers[1] there is no server "gihub" (expected "github")',
  ],
  [
    'tools of a server outside the group',
    beside('"groups": { "g": { "servers": ["b"], "tools": { "github": ["t"] } } }'),
    '3:51 groups.g.tools.github "github" is not among the servers of this group',
  ],
  [
    'a bad access and a bad list',
    beside(
      '"groups": { "g": { "servers": "*", "access": "public" },\n "h": { "servers": "all" }, "i": { "servers": [1] } }',
    ),
    '3:48 groups.g.access is "public" (expected "key", "anonymous")',
    '4:20 groups.h.servers is a text (expected "*" or an array of server names)',
    '4:48 groups.i.servers[0] is a number (expected a text)',
  ],
  [
    'a mistyped limit',
    beside('"limits": { "silenceMS": 1000 }'),
    '3:15 limits.silenceMS unknown key in limits; did you mean "silenceMs"?',
  ],
  [
    'a negative limit',
    beside('"limits": { "silenceMs": -1 }'),
    `3:28 limits.silenceMs is -1 ${LIMIT_MS('100 ms to 1 h')}`,
  ],
  [
    'a limit past every timer',
    beside('"limits": { "totalMs": 1e12 }'),
    `3:26 limits.totalMs is 1000000000000 ${LIMIT_MS('1 s to 1 d')}`,
  ],
  [
    'an endless limit',
    beside('"limits": { "totalMs": 1e999 }'),
    '3:26 limits.totalMs is too large a number (expected a number, or a text such as "5s" or "4MiB")',
  ],
  [
    'a limit without a unit',
    beside('"limits": { "totalMs": "5" }'),
    `3:26 limits.totalMs is "5" ${LIMIT_MS('1 s to 1 d')}`,
  ],
  [
    'limits in the wrong order',
    beside('"limits": { "drainMs": "1m" }'),
    '3:26 limits.drainMs is 1 min (expected less than stopMs, which is 30 s)',
  ],
  [
    'a host with a scheme, an origin without',
    beside('"settings": { "allowedHosts": ["https://x.example"],\n "allowedOrigins": ["x.example"] }'),
    '3:34 settings.allowedHosts[0] is "https://x.example" (expected a host name such as "hub.example.com", or "*")',
    '4:21 settings.allowedOrigins[0] is "x.example" (expected scheme, host and port, such as "https://hub.example.com", "http://localhost:*", "app://obsidian.md", or "*")',
  ],
];

for (const [name, text, ...expected] of CORPUS) {
  test(`a bad file is refused with its place and words: ${name}`, () => {
    const loaded = parseConfig(text, 'f', {});
    assert.equal(loaded.config, undefined);
    assert.deepEqual(
      loaded.problems.map((problem) =>
        formatProblems([problem])
          .replace(/^f:(\d+:\d+) {2}error {2}/, '$1 ')
          .replace(/ {2}/, ' '),
      ),
      expected,
    );
    assert.ok(!formatProblems(loaded.problems).includes('sesame'), 'a secret is told');
  });
}

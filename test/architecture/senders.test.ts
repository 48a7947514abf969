/**
 * Every file that opens a connection stands in a table, with the test that shows how it frames what it sends. A new
 * file without a row fails, and so does a row whose test is gone.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT, readTree, type SourceFile, snippet } from './_tree.ts';

/** Names that open connections, by module. */
const OPENERS: Readonly<Record<string, ReadonlySet<string>>> = {
  'node:http': new Set(['request', 'get', 'Agent', 'ClientRequest', '*']),
  'node:https': new Set(['request', 'get', 'Agent', '*']),
  'node:http2': new Set(['connect', '*']),
  'node:net': new Set(['connect', 'createConnection', 'Socket', '*']),
  'node:tls': new Set(['connect', 'TLSSocket', '*']),
};
const OTHERS: ReadonlySet<string> = new Set(['undici', 'ws', 'ioredis', 'pg']);
const FETCH = /(?<![.\w$])(?:fetch|WebSocket|EventSource)\s*\(/;

interface Sender {
  readonly path: string;
  readonly carries: 'what a client sent' | 'its own requests' | 'no requests';
  /** File, and words of the title of a test in it. */
  readonly shown: readonly [file: string, title: string];
}

function sender(path: string, carries: Sender['carries'], file: string, title: string): Sender {
  return { path, carries, shown: [file, title] };
}

const ONWARD = 'test/security/onward.test.ts';

const SENDERS: readonly Sender[] = [
  sender('downstream/forward.ts', 'what a client sent', ONWARD, 'downstream/forward.ts sends on GET, POST and DELETE'),
  sender(
    'downstream/peer-workers.ts',
    'what a client sent',
    ONWARD,
    'downstream/peer-workers.ts sends on GET, POST and DELETE',
  ),
  sender(
    'upstream/transport/peer/forward.ts',
    'what a client sent',
    ONWARD,
    'sends each message as one POST with a length',
  ),
  sender('net/_connector.ts', 'what a client sent', ONWARD, 'net/_connector.ts carries requests'),
  sender('bridge/request.ts', 'what a client sent', ONWARD, 'bridge/request.ts sends every method'),
  sender(
    'net/unix-socket-request.ts',
    'its own requests',
    ONWARD,
    'net/unix-socket-request.ts sends every method with a length',
  ),
  sender('chaos/_load.ts', 'its own requests', ONWARD, 'chaos/_load.ts sends its calls with a length'),
  sender(
    'supervisor/process-probe.ts',
    'its own requests',
    ONWARD,
    'supervisor/process-probe.ts sends GET requests without a body',
  ),
  sender(
    'relay/_control-connection.ts',
    'no requests',
    'src/relay/relay.test.ts',
    'disconnects only the connection that sends invalid lines',
  ),
  sender(
    'telemetry/_sink-ends.ts',
    'no requests',
    'src/telemetry/telemetry.test.ts',
    'a socket with a reader gets every line',
  ),
  sender(
    'subprocess/spawn/launch.ts',
    'no requests',
    'src/subprocess/spawn/launch.test.ts',
    'is ready when its port takes',
  ),
];

/** `node:http` and its `get` alone: such a request has no method but GET, and no body. */
function isReadOnly({ imports, bare }: SourceFile): boolean {
  const names = imports.flatMap(({ from, names, typeOnly }) => (!typeOnly && OPENERS[from] ? names : []));
  return names.length > 0 && names.every((name) => name === 'get') && !/\bmethod\s*:/.test(bare);
}

function opens(file: SourceFile): boolean {
  return (
    FETCH.test(file.bare) ||
    file.imports.some(
      ({ from, names, typeOnly }) =>
        !typeOnly && (OTHERS.has(from) || names.some((name) => OPENERS[from]?.has(name) === true)),
    )
  );
}

const tree = readTree();

test('every file that opens a connection is in the table, or sends GET requests without a body only', () => {
  const listed = new Set(SENDERS.map(({ path }) => path));
  const missing = tree.filter((file) => opens(file) && !isReadOnly(file) && !listed.has(file.path));
  assert.deepEqual(
    missing.map(({ path }) => path),
    [],
  );
});

test('every row of the table names a file that opens a connection, and a test that exists', () => {
  for (const { path, shown } of SENDERS) {
    const file = tree.find((one) => one.path === path);
    assert.ok(file && opens(file), `${path} opens no connection`);
    const [test, title] = shown;
    assert.ok(readFileSync(`${ROOT}${test}`, 'utf8').includes(title), `${test} has no test "${title}"`);
  }
});

test('a file that opens a connection is seen', () => {
  for (const text of [
    "import { request } from 'node:http';",
    "import { Agent, request as ask } from 'node:https';",
    "import * as http from 'node:http';",
    "import { connect } from 'node:net';",
    "import { connect } from 'node:tls';",
    "await fetch('http://x');",
    "const { request } = await import('node:http');",
  ])
    assert.ok(opens(snippet(text)) && !isReadOnly(snippet(text)), text);
  assert.ok(isReadOnly(snippet("import { get } from 'node:http'; get({ path: '/' });")));
  assert.ok(!isReadOnly(snippet("import { get } from 'node:http'; get({ method: 'POST' });")));
  assert.ok(!opens(snippet("import type { Socket } from 'node:net';\nimport { createServer } from 'node:http';")));
});

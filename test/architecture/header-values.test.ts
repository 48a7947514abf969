/**
 * Request headers that are lists are read in one file: any other reader compares a whole line, and fails for a client
 * whose proxy doubles it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readTree } from './_tree.ts';

const READER = 'downstream/header-values.ts';
const LISTS =
  'accept|content-type|content-encoding|last-event-id|mcp-[a-z-]+|access-control-request-headers|x-forwarded-proto';
/** `headers.accept`, `headers['mcp-name']`, `{ accept }: IncomingHttpHeaders`, `'mcp-name': name` in a pattern. */
const READS = [
  new RegExp(`headers(?:\\.(?:${LISTS})\\b|\\[['"](?:${LISTS})['"]\\])`),
  new RegExp(`\\{[^{}]*\\b(?:${LISTS})\\b[^{}]*\\}: IncomingHttpHeaders`),
];

/** Lines of `text` that read such a header. */
function readersIn(text: string): string[] {
  return text.split('\n').filter((line) => READS.some((pattern) => pattern.test(line)));
}

test('request headers that are lists are read in downstream/header-values.ts only', () => {
  const files = readTree().filter(({ path }) => path.startsWith('downstream/') && !path.endsWith('.test.ts'));
  const found = files.flatMap(({ path, text }) => readersIn(text).map((line) => `${path}: ${line.trim()}`));
  assert.ok(
    found.some((place) => place.startsWith(READER)),
    'the rule finds the reader itself',
  );
  assert.deepEqual(
    found.filter((place) => !place.startsWith(READER)),
    [],
    'read them with downstream/header-values.ts',
  );
});

test('the rule finds each way of reading a header', () => {
  for (const line of [
    'const { accept } = request.headers.accept;',
    "request.headers['mcp-session-id']",
    'headers["content-type"]',
    "function idIn({ 'mcp-session-id': id }: IncomingHttpHeaders): string {",
    'function accepts({ accept }: IncomingHttpHeaders): boolean {',
  ])
    assert.equal(readersIn(line).length, 1, line);
  for (const line of ["headers['content-length']", "'content-type': 'application/json'", 'headers.authorization'])
    assert.equal(readersIn(line).length, 0, line);
});

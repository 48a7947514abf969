/** Any change of a valid file is either read, or reported with a position; nothing throws, and no secret is shown. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { explain } from './explain.ts';
import { parseConfig } from './parse.ts';
import { formatProblems } from './problems.ts';

/**
 * Contains characters that no host name has: a cut can turn a secret into the host of an address, and hosts are shown.
 */
const SECRET = 'open~sesame!';
const ENV = { TOKEN: SECRET, MCPHUB_CALLS: '100' };

const GOOD = `{
  "$schema": "./x.json", // an editor likes it
  "mcpServers": {
    "everything": { "command": "node", "args": ["x.js", "--key=${SECRET}"], "cwd": "..", "silenceMs": "20s", "inFlight": 4 },
    "깃허브": { "type": "streamable-http", "url": "https://u:${SECRET}@x.example/mcp?k=${SECRET}", "headers": { "Authorization": "Bearer \${TOKEN}" },
      "tools": { "slow": { "enabled": true, "totalMs": 60000 } } },
    "launched": { "url": "http://127.0.0.1:\${PORT}/mcp", "launch": { "command": "node", "env": { "PORT": "\${PORT}", "K": "${SECRET}" } } },
    "old": { "type": "sse", "url": "http://x.example/${SECRET}/sse", "enabled": false, "env": { "A": "${SECRET}" } },
  },
  "groups": { "g": { "servers": ["everything", "깃허브"], "tools": { "everything": ["echo"] } }, "all": { "servers": "*" } },
  "limits": { "silenceMs": "10s", "bodyBytes": "8MiB" },
  "settings": { "allowedHosts": ["hub.example.com"] }, /* the end */
}`;

function check(text: string): void {
  const loaded = parseConfig(text, '/f', ENV);
  const errors = loaded.problems.filter(({ severity }) => severity === 'error');
  assert.equal(loaded.config === undefined, errors.length > 0);
  const lines = text.split('\n');
  for (const { file, line, column } of loaded.problems) {
    if (file !== '/f' || line === 0) continue;
    assert.ok(line >= 1 && line <= lines.length, `line ${line}`);
    assert.ok(column >= 1 && column <= (lines[line - 1] as string).length + 1, `column ${column}`);
  }
  const told = formatProblems(loaded.problems) + JSON.stringify(explain(loaded));
  assert.ok(!told.includes(SECRET), told);
}

test('the file as it is is good, and explains itself without a secret', () => {
  const loaded = parseConfig(GOOD, '/f', ENV);
  assert.ok(loaded.config);
  assert.ok(JSON.stringify(loaded.config).includes(SECRET));
  check(GOOD);
});

// row E2 · guards src/config/parse.ts
test('any beginning of a file is refused: a cut file is never taken for a whole one', () => {
  for (let end = 0; end < GOOD.length; end += 1) {
    const text = GOOD.slice(0, end);
    assert.equal(parseConfig(text, '/f', ENV).config, undefined, text.slice(-20));
  }
});

test('any part cut out, doubled or replaced is read or named', () => {
  const piece = fc.constantFrom(
    '',
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '0',
    '-1',
    '1e12',
    'null',
    '"5x"',
    'true',
    '//',
    '${',
    '\n',
    '\u0000',
    '깃',
  );
  fc.assert(
    fc.property(fc.nat(GOOD.length), fc.nat(40), piece, (at, length, put) => {
      check(GOOD.slice(0, at) + put + GOOD.slice(at + length));
    }),
    { numRuns: 1500 },
  );
});

test('any value in any place is read or named', () => {
  const whole = JSON.parse(JSON.stringify({ mcpServers: {} })) as Record<string, unknown>;
  const keys = [
    'type',
    'command',
    'args',
    'env',
    'url',
    'headers',
    'launch',
    'tools',
    'silenceMs',
    'inFlight',
    'enabled',
    'options',
    'x',
  ];
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom('http', 'node', 'http://x/mcp', '5s', '${A}', -1, 0, 1e300, {}, []),
  );
  const entry = fc.dictionary(fc.constantFrom(...keys), value);
  fc.assert(
    fc.property(
      fc.dictionary(fc.string({ maxLength: 8 }), fc.oneof(entry, fc.jsonValue({ maxDepth: 1 }))),
      value,
      value,
      (mcpServers, groups, limits) => {
        check(JSON.stringify({ ...whole, mcpServers, groups, limits: { silenceMs: limits } }, null, 1));
      },
    ),
    { numRuns: 1500 },
  );
});

test('any choice of its keys is read or named', () => {
  const tree = JSON.parse(JSON.stringify(parseTreeOf(GOOD))) as Record<string, unknown>;
  const leaves = pathsOf(tree, []);
  fc.assert(
    fc.property(fc.subarray(leaves), (gone) => {
      const copy = structuredClone(tree);
      for (const path of gone) remove(copy, path);
      check(JSON.stringify(copy, null, 2));
    }),
    { numRuns: 500 },
  );
});

/** Parses GOOD after removing what JSON does not allow. */
function parseTreeOf(text: string): unknown {
  const plain = text.replace(/\/\/ an editor likes it|\/\* the end \*\//g, '').replace(/,(\s*[}\]])/g, '$1');
  return JSON.parse(plain);
}

function pathsOf(value: unknown, path: readonly string[]): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...pathsOf(inner, [...path, key])]);
}

function remove(root: Record<string, unknown>, path: readonly string[]): void {
  let at: unknown = root;
  for (const key of path.slice(0, -1))
    at = typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined;
  const last = path.at(-1) ?? '';
  if (Array.isArray(at)) at.splice(Number(last), 1);
  else if (typeof at === 'object' && at !== null) delete (at as Record<string, unknown>)[last];
}

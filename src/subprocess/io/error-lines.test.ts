import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorLines } from './error-lines.ts';

test('the line that names the error is shown, and no stack', () => {
  const node = [
    'node:internal/modules/cjs/loader:1386',
    '  throw err;',
    '  ^',
    "Error: Cannot find module '/x'",
    ...Array.from({ length: 9 }, (_, at) => `    at Function._load (node:internal/modules/cjs/loader:${at}:15)`),
    '  code: ’MODULE_NOT_FOUND’,',
    '}',
    'Node.js v24.4.0',
  ];
  const told = errorLines(node, 5);
  assert.ok(told.includes("Error: Cannot find module '/x'"), told.join('\n'));
  assert.ok(!told.some((line) => line.includes('    at ')));
  const late = ['starting', 'FATAL: no such database', ...Array.from({ length: 9 }, (_, at) => `closing ${at}`)];
  assert.deepEqual(errorLines(late, 3), ['FATAL: no such database', 'closing 7', 'closing 8']);
});

test('lines that are all frames, or name no error, are shown as they are', () => {
  assert.deepEqual(errorLines(['  at a', '  at b'], 1), ['  at b']);
  assert.deepEqual(errorLines(['a', 'b', 'c'], 2), ['b', 'c']);
  assert.deepEqual(errorLines([], 5), []);
});

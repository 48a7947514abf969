/** Formats problems. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatProblems, Problems, pathText, quoted } from './problems.ts';

test('paths are written as people write them, with quotes where they need them', () => {
  assert.equal(pathText(['mcpServers', 'everything-http', 'args', 2]), 'mcpServers.everything-http.args[2]');
  assert.equal(pathText(['mcpServers', '깃허브', 'env', 'A B']), 'mcpServers.깃허브.env["A B"]');
  assert.equal(pathText(['a.b', 'c']), '["a.b"].c');
});

test('a text of the file cannot drive a terminal or fill a screen', () => {
  assert.equal(quoted('a\u001b[2J\u009b\u202eb'), '"a\\u001b[2J\\u009b\\u202eb"');
  assert.equal(quoted('x'.repeat(500)).length, 82);
});

test('problems come in the order of the file, one line each', () => {
  const problems = new Problems('f.json', (path) => ({ line: Number(path[0]), column: 3 }));
  problems.warning(['9'], 'is odd');
  problems.error(['2'], 'is 0', 'more');
  problems.add({
    severity: 'error',
    file: 'environment',
    line: 0,
    column: 0,
    path: 'PORT',
    message: 'is "x"',
    expected: undefined,
  });
  assert.equal(
    formatProblems(problems.list()),
    'environment  error  PORT  is "x"\nf.json:2:3  error  2  is 0 (expected more)\nf.json:9:3  warning  9  is odd',
  );
  assert.equal(problems.errors, 2);
});

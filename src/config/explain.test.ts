/** Reports where values come from, without secrets. */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Explained, explain } from './explain.ts';
import { parseConfig } from './parse.ts';

function rowsOf(
  text: string,
  env: Record<string, string> = {},
  flags: Record<string, number> = {},
): Map<string, Explained> {
  return new Map(explain(parseConfig(text, '/f', env, flags)).map((row) => [row.name, row]));
}

test('reports value, unit and source of every limit, with the line or the variable', () => {
  const text = '{ "mcpServers": {},\n "limits": { "calls": 9,\n "silenceMs": "7s", "batch": 3 } }';
  const rows = rowsOf(text, { MCPHUB_BATCH: '4' }, { calls: 8 });
  const shown = (name: string): unknown[] => {
    const { value, unit, source, file, line, variable } = rows.get(`limits.${name}`) as Explained;
    return [value, unit, source, file, line, variable];
  };
  assert.deepEqual(shown('silenceMs'), [7000, 'ms', 'file', '/f', 3, undefined]);
  assert.deepEqual(shown('batch'), [4, 'count', 'env', undefined, undefined, 'MCPHUB_BATCH']);
  assert.deepEqual(shown('calls'), [8, 'count', 'flag', undefined, undefined, undefined]);
  assert.deepEqual(shown('totalMs'), [600_000, 'ms', 'default', undefined, undefined, undefined]);
});

test('shows possible secrets as three stars, and variables unexpanded', () => {
  const rows = rowsOf(
    JSON.stringify({
      mcpServers: {
        env: { command: '${RUN}', args: ['--key', 'sesame'], env: { KEY: 'sesame' }, cwd: '/srv' },
        b: { url: 'https://u:sesame@x.example:8443/mcp?k=sesame', headers: { A: '${T}' } },
        c: { url: 'https://x.example/s/sesame/mcp' },
        d: { url: '${URL:-http://sesame}' },
        e: { command: 'npx thing --key sesame' },
        f: { url: 'http://127.0.0.1:${PORT}/mcp', launch: { command: 'node', env: { K: 'sesame' } } },
      },
    }),
    { RUN: 'sesame', T: 'sesame', URL: 'http://x' },
  );
  const values = Object.fromEntries(
    [...rows].filter(([name]) => name.startsWith('mcp')).map(([name, { value }]) => [name, value]),
  );
  assert.deepEqual(values, {
    'mcpServers.env.command': '${RUN}',
    'mcpServers.env.args': '2 arguments',
    'mcpServers.env.env.KEY': '***',
    'mcpServers.env.cwd': '/srv',
    'mcpServers.b.url': 'https://***@x.example:8443/mcp?***',
    'mcpServers.b.headers.A': '***',
    'mcpServers.c.url': 'https://x.example/***',
    'mcpServers.d.url': '***',
    'mcpServers.e.command': 'npx thing ***',
    'mcpServers.f.url': 'http://127.0.0.1:${PORT}/mcp',
    'mcpServers.f.launch.command': 'node',
    'mcpServers.f.launch.env.K': '***',
  });
});

test('explains the rest of an invalid file', () => {
  const rows = rowsOf('{ "mcpServers": { "a": 5, "b": { "command": "x" } } }');
  assert.equal(rows.get('mcpServers.b.command')?.value, 'x');
  assert.equal(rows.get('limits.calls')?.source, 'default');
});

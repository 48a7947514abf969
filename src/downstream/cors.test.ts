import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { allowedHeaders } from './cors.ts';
import { requestedHeaders } from './header-values.ts';

function asked(text: string): readonly string[] | undefined {
  return requestedHeaders({ headers: { 'access-control-request-headers': text } } as unknown as IncomingMessage, 1024);
}

// case: CL6, CL7
test('allows the headers of both eras, and those that a page asks for when they are names', () => {
  const names = allowedHeaders(asked('Mcp-Param-City, traceparent,X-Custom-Header, mcp-method, bad name, x:y,, ä'));
  for (const name of ['mcp-method', 'mcp-name', 'mcp-param-city', 'traceparent', 'x-custom-header', 'authorization'])
    assert.ok(names.includes(name), name);
  assert.equal(names.length, new Set(names).size);
  assert.ok(names.every((name) => /^[a-z-]+$/.test(name)));
});

test('echoes no list above 1 KiB', () => {
  const long = allowedHeaders(asked(`x-a, ${'x'.repeat(1024)}`));
  assert.ok(!long.includes('x-a') && long.includes('mcp-method'));
  assert.deepEqual(allowedHeaders(), long);
  assert.ok(allowedHeaders(asked('x'.repeat(1024)))?.includes('x'.repeat(1024)));
});

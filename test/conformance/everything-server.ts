/**
 * The everything server as a program: `node test/conformance/everything-server.ts [--stdio] [--era 2025|2026|both]`.
 * Over HTTP it listens on PORT (or a free one) and prints `{"url":…}` as one line; with --stdio it speaks on stdin and
 * stdout, one era only, and ends with stdin. It has every tool, prompt and resource that the conformance suites ask a
 * server for.
 */
import { enableCompileCache } from 'node:module';
import { parseArgs } from 'node:util';
import type { Eras } from './everything-http.ts';
import { createWorld } from './everything-world.ts';

const { values } = parseArgs({
  options: { stdio: { type: 'boolean', default: false }, era: { type: 'string', default: '2025' } },
});

// A hub starts a child for each user, and the suites wait 600 ms at most: only what is served is loaded, and compiled
// once.
enableCompileCache();
if (!values.stdio) {
  const { startEverythingHttp } = await import('./everything-http.ts');
  const { url } = await startEverythingHttp(values.era as Eras, Number(process.env.PORT ?? 0));
  console.log(JSON.stringify({ url }));
} else if (values.era === '2026') {
  const { serveModernStdio } = await import('./modern-stdio.ts');
  serveModernStdio(createWorld());
} else {
  const { createSession } = await import('./everything-session.ts');
  const { StdioServerTransport } = await import('@modelcontextprotocol/sdk/server/stdio.js');
  await createSession(createWorld()).connect(new StdioServerTransport());
}

/**
 * The everything server as a program: `node test/conformance/everything-server.ts [--stdio] [--era 2025|2026|both]`.
 * Over HTTP it listens on PORT (or a free one) and prints `{"url":…}` as one line; with --stdio it speaks on stdin and stdout, one era only, and
 * ends with stdin. It has every tool, prompt and resource that the conformance suites ask a server for.
 */
import { parseArgs } from 'node:util';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { type Eras, startEverythingHttp } from './everything-http.ts';
import { createSession } from './everything-session.ts';
import { createWorld } from './everything-world.ts';
import { serveModernStdio } from './modern-stdio.ts';

const { values } = parseArgs({
  options: { stdio: { type: 'boolean', default: false }, era: { type: 'string', default: '2025' } },
});

if (!values.stdio) {
  const { url } = await startEverythingHttp(values.era as Eras, Number(process.env.PORT ?? 0));
  console.log(JSON.stringify({ url }));
} else if (values.era === '2026') serveModernStdio(createWorld());
else await createSession(createWorld()).connect(new StdioServerTransport());

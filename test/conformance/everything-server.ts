/**
 * The everything server as a program: `node test/conformance/everything-server.ts [--stdio]`.
 * Over HTTP it listens on PORT (or a free one) and prints `{"url":…}` as one line; with --stdio it speaks on stdin and stdout and
 * ends with stdin. It has every tool, prompt and resource that both conformance suites ask a server of the 2025 era for.
 */
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { startEverythingHttp } from './everything-http.ts';
import { createSession } from './everything-session.ts';
import { createWorld } from './everything-world.ts';

if (process.argv.includes('--stdio')) {
  await createSession(createWorld()).connect(new StdioServerTransport());
} else {
  const { url } = await startEverythingHttp(Number(process.env.PORT ?? 0));
  console.log(JSON.stringify({ url }));
}

/**
 * The page at `/`: says that the hub runs and how to connect. It is public, so it contains no names and no figures. It
 * is answered from memory, also while the control process is unavailable.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { escapeHtml, htmlPage, PAGE_HEADERS } from '../model/html-page.ts';
import { forwardedProto } from './header-values.ts';

const STYLE =
  ':root{color-scheme:light dark}body{margin:0;font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}' +
  'main{max-width:52rem;margin:0 auto;padding:3rem 1.25rem 4rem}h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.5rem 0 .75rem}' +
  'p{margin:.5rem 0}.soft{opacity:.7}pre{border:1px solid #8886;border-radius:8px;padding:.9rem 1rem;overflow-x:auto}' +
  'code{font:.9rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}';

const HOST = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

/** Answers with the page. `state` is the worker's health in one word. */
export function writeLandingPage(
  request: IncomingMessage,
  response: ServerResponse,
  { state, port }: { readonly state: string; readonly port: number },
): void {
  if (response.destroyed || response.headersSent) return;
  const origin = publicOrigin(request.headers.host, forwardedProto(request), port);
  const html = landingPage(origin, state);
  response.writeHead(200, { ...PAGE_HEADERS, 'content-length': Buffer.byteLength(html) });
  response.end(html);
}

/** Returns the origin that the reader used, if its Host header is well-formed; else `http://localhost:<port>`. */
export function publicOrigin(host: string | undefined, forwardedProto: string | undefined, port: number): string {
  if (host === undefined || host === 'localhost' || !HOST.test(host)) return `http://localhost:${port}`;
  return `${forwardedProto === 'https' ? 'https' : 'http'}://${host}`;
}

/** Returns the HTML. `origin` comes from `publicOrigin`, whose result needs no escaping beyond that of `escapeHtml`. */
export function landingPage(origin: string, state: string): string {
  const url = `${origin}/mcp`;
  const entry = { mcphub: { url, headers: { Authorization: 'Bearer mcphub_…' } } };
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}';
  const curl =
    `curl -sS ${url} -H 'Authorization: Bearer mcphub_…' -H 'Content-Type: application/json' ` +
    `-H 'Accept: application/json, text/event-stream' -d '${body}'`;
  return htmlPage({
    style: STYLE,
    main: `<p>One endpoint for many MCP servers. State: <strong>${escapeHtml(state)}</strong>.</p>
<h2>Connect</h2>
<p>Cursor: put this into <code>~/.cursor/mcp.json</code>, with your own key.</p>
<pre><code>${escapeHtml(JSON.stringify({ mcpServers: entry }, null, 2))}</code></pre>
<p>Or try it from a shell:</p>
<pre><code>${escapeHtml(curl)}</code></pre>
<p class="soft">Create a key with <code>mcphub keys create --user &lt;name&gt; --name &lt;client&gt;</code> on the machine that runs the hub.</p>
<p class="soft">Health for monitors: <code>/health</code>, <code>/livez</code>, <code>/readyz</code>.</p>`,
  });
}

/**
 * A page in a headless Chromium, at an origin of its own, that runs one bundled module and reports what it found.
 * Ends by `timeoutMs`; the browser is ended by its pid, with all of its processes, and its profile is removed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

/** A host name that only the browser knows: the page is no page of loopback. */
const HOST = 'app.mcphub.test';

export interface Page {
  /** For `settings.allowedOrigins`. */
  readonly origin: string;
  /** Opens the page with `given` as `globalThis.given`; resolves with what its module reports by `report(value)`. */
  open(given: object, timeoutMs?: number): Promise<unknown>;
  close(): Promise<void>;
}

/** `entry` = file of the module; it calls `globalThis.report` once. */
export async function startPage(entry: string): Promise<Page> {
  const bundle = await rolldown({ input: entry, platform: 'browser', logLevel: 'silent' });
  const { output } = await bundle.generate({ format: 'iife' });
  await bundle.close();
  const code = output[0].code;
  let given: object = {};
  let reported: (value: unknown) => void = () => {};
  const server = createServer((request, response) => {
    if (request.url === '/report') {
      let text = '';
      request.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      request.on('end', () => {
        response.end();
        reported(JSON.parse(text));
      });
      return;
    }
    const isPage = request.url === '/';
    response.setHeader('content-type', isPage ? 'text/html' : 'text/javascript');
    response.end(isPage ? pageWith(given) : code);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const origin = `http://${HOST}:${port}`;
  return {
    origin,
    async open(what, timeoutMs = 60_000) {
      given = what;
      const profile = mkdtempSync(join(tmpdir(), 'mcphub-chromium-'));
      const reports = new Promise<unknown>((resolve) => {
        reported = resolve;
      });
      const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
      const browser = spawn(
        'chromium',
        [...flags, `--user-data-dir=${profile}`, `--host-resolver-rules=MAP ${HOST} 127.0.0.1`, `${origin}/`],
        { stdio: ['ignore', 'ignore', 'pipe'], detached: true, env: { ...process.env, HOME: profile } },
      );
      let said = '';
      browser.stderr.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4000);
      });
      const exited = new Promise<void>((resolve) => browser.once('exit', () => resolve()));
      const late = new Promise<never>((_, reject) => {
        setTimeout(
          () => reject(new Error(`the page reported nothing in ${timeoutMs} ms:\n${said}`)),
          timeoutMs,
        ).unref();
      });
      try {
        return await Promise.race([reports, late]);
      } finally {
        // The group holds the processes of the browser only.
        if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL');
        await exited;
        rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
      }
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function pageWith(given: object): string {
  const json = JSON.stringify(given).replaceAll('<', '\\u003c');
  return `<!doctype html><title>page</title><script>
globalThis.given = ${json};
globalThis.report = (value) => fetch('/report', { method: 'POST', body: JSON.stringify(value) });
addEventListener('error', (event) => report({ fault: event.message }));
addEventListener('unhandledrejection', (event) => report({ fault: String(event.reason?.stack ?? event.reason) }));
</script><script src="/module.js"></script>`;
}

/**
 * server-everything as the journeys use it: asked through lanes (`interactive`), over stdin and stdout and over
 * Streamable HTTP.
 * Promises: a program over HTTP has a free port, listens when it is handed out, and is ended by its pid.
 */
import { spawn } from 'node:child_process';
import { cleanEnv, freePort, statusOf, tryKill, until } from './hub.ts';
import { EVERYTHING } from './real-servers.ts';

export interface HttpServer extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

/** Starts server-everything on a free port. */
export function startEverythingHttp(): Promise<HttpServer> {
  return startHttpProgram([EVERYTHING.args[0], 'streamableHttp']);
}

/** Starts a program that listens at PORT; waits until it does. */
export async function startHttpProgram(args: readonly string[], env: Record<string, string> = {}): Promise<HttpServer> {
  const port = await freePort();
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: { ...cleanEnv(), PORT: String(port), ...env },
  });
  const url = `http://127.0.0.1:${port}/mcp`;
  const gone = new Promise<void>((done) => child.once('exit', () => done()));
  const server: HttpServer = {
    url,
    pid: child.pid ?? -1,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      tryKill(child.pid);
      await gone;
    },
  };
  await until(async () => (await statusOf(url)) !== 0, 30_000, `${args[0]} listens`).catch(async (fault) => {
    await server[Symbol.asyncDispose]();
    throw fault;
  });
  return server;
}

/** Two servers, one a transport. */
export function everythingConfig(httpUrl: string) {
  return {
    mcpServers: {
      everything: { ...EVERYTHING, interactive: true },
      remote: { type: 'streamable-http', url: httpUrl, interactive: true },
    },
  };
}

/**
 * The fault servers of one injected fault: the entry for the configuration, and for HTTP the process.
 * Guarantees: `close` ends the process by its pid; it also ends when this command exits, because its stdin closes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Runtime } from '../runtime/runtime.ts';
import type { FaultKind } from './_faults.ts';

const PROGRAM = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './fault-server.ts' : './fault-server.js', import.meta.url),
);
const START_MS = 10_000;
/** Silence limit in ms of the fault server, independent of the user's global setting. */
const SILENCE_MS = 5000;

/** Returns the entry of a healthy stdio server. */
export function wellServer(): object {
  return stdioServer('well', '');
}

export interface FaultServer extends Disposable {
  /** Entry for `mcpServers`. */
  readonly entry: object;
  /** Makes the server fail from now on. */
  order(): void;
}

export async function faultServer(
  runtime: Runtime,
  server: NonNullable<FaultKind['server']>,
  dir: string,
): Promise<FaultServer> {
  if (server.kind === 'stdio')
    return { entry: stdioServer(server.way, join(dir, `marker-${server.way}`)), order() {}, [Symbol.dispose]() {} };
  const child = spawn(process.execPath, [PROGRAM, 'http', server.way], { stdio: ['pipe', 'pipe', 'ignore'] });
  child.on('error', () => {});
  child.stdin?.on('error', () => {});
  using deadline = runtime.deadline(START_MS);
  try {
    const port = await runtime.waits.for(portOf(child), { label: 'service-start', owner: server.way, deadline });
    const url = `http://127.0.0.1:${port}/mcp`;
    return {
      entry: { type: 'streamable-http', url, silenceMs: SILENCE_MS },
      order: () => void child.stdin?.write('ill\n'),
      [Symbol.dispose]: () => void child.kill('SIGKILL'),
    };
  } catch (fault) {
    child.kill('SIGKILL');
    throw fault;
  }
}

function portOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    if (child.stdout) createInterface({ input: child.stdout }).once('line', resolve);
  });
}

function stdioServer(way: string, marker: string): object {
  return { command: process.execPath, args: [PROGRAM, 'stdio', way, marker], silenceMs: SILENCE_MS };
}

/**
 * The ways on which a suite meets the everything server: directly, or through a whole hub that reaches it over HTTP or
 * over stdio, in the one era, the other, or both.
 * Promises: when a path is open its tools are listed; closing it ends all that it started.
 * The address says `localhost`, for the suites test a local server's guard against rebinding of names.
 */
import { join } from 'node:path';
import { ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { stateless } from '../support/stateless.ts';
import { type Eras, type EverythingHttp, startEverythingHttp } from './everything-http.ts';

export type PathName = 'direct' | 'direct-modern' | 'http' | 'stdio' | 'modern' | 'dual';

export interface PathKind {
  readonly means: string;
  /** What the everything server speaks. */
  readonly eras: Eras;
  readonly isHub: boolean;
  readonly isStdio?: boolean;
}

export const PATHS: Readonly<Record<PathName, PathKind>> = {
  direct: { means: 'the everything server of the 2025 dates itself', eras: '2025', isHub: false },
  'direct-modern': { means: 'the everything server of 2026-07-28 itself', eras: '2026', isHub: false },
  http: { means: 'the hub, its server of the 2025 dates over HTTP', eras: '2025', isHub: true },
  stdio: {
    means: 'the hub, its server of the 2025 dates over stdio',
    eras: '2025',
    isHub: true,
    isStdio: true,
  },
  modern: { means: 'the hub, its server of 2026-07-28 over HTTP', eras: '2026', isHub: true },
  dual: { means: 'the hub, its server of both eras over HTTP', eras: 'both', isHub: true },
};

export const PATH_NAMES = Object.keys(PATHS) as readonly PathName[];

export interface OpenPath extends AsyncDisposable {
  readonly name: PathName;
  readonly url: string;
  /** What the hub has printed, for a run that fails in a way that the suite cannot explain. */
  log(): string;
}

const GROUP = 'conformance';
const LIST_MS = 30_000;
/** One question for the list. */
const ASK_MS = 2000;
const STDIO_SERVER = { command: 'node', args: [join(ROOT, 'test/conformance/everything-server.ts'), '--stdio'] };

export function openPath(name: PathName): Promise<OpenPath> {
  return PATHS[name].isHub ? openHub(name) : openDirect(name);
}

async function openDirect(name: PathName): Promise<OpenPath> {
  const server = await startEverythingHttp(PATHS[name].eras);
  return { name, url: server.url, log: () => '', [Symbol.asyncDispose]: () => server.close() };
}

async function openHub(name: PathName): Promise<OpenPath> {
  const { eras, isStdio } = PATHS[name];
  const server = isStdio ? undefined : await startEverythingHttp(eras);
  const close = async (hub?: RunningHub) => {
    await hub?.[Symbol.asyncDispose]();
    await server?.close();
  };
  let hub: RunningHub | undefined;
  try {
    hub = await startHub({ config: configFor(server) });
    const url = `http://localhost:${hub.port}/mcp/${GROUP}`;
    await until(() => isListed(url), LIST_MS, 'the list of tools');
    if (isStdio) await startChild(url);
    const running = hub;
    return { name, url, log: () => running.log, [Symbol.asyncDispose]: () => close(running) };
  } catch (fault) {
    await close(hub);
    throw new Error(`${(fault as Error).message}\n${hub?.log.slice(-4000) ?? ''}`);
  }
}

/** One server that asks its users questions, in a group that needs no key. */
function configFor(server: EverythingHttp | undefined): unknown {
  const way = server ? { url: `http://127.0.0.1:${server.port}/mcp` } : STDIO_SERVER;
  return {
    mcpServers: { everything: { ...way, interactive: true } },
    groups: { [GROUP]: { servers: ['everything'], access: 'anonymous' } },
  };
}

/**
 * The suite of 2026-07-28 gives one question 600 ms, in which a child of its user has to start. How fast node loads the
 * SDK is not what is tested: a user's child stays, so that it is started before.
 */
async function startChild(url: string): Promise<void> {
  const { json } = await stateless(
    url,
    'tools/call',
    { name: 'test_simple_text', arguments: {} },
    { key: '', capabilities: { elicitation: {} }, timeoutMs: LIST_MS },
  );
  if (json?.result === undefined) throw new Error(`no child has started: ${JSON.stringify(json)}`);
}

async function isListed(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
      signal: AbortSignal.timeout(ASK_MS),
    });
    return (await answer.text()).includes('test_simple_text');
  } catch {
    return false;
  }
}

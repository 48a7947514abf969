/**
 * Hubs in front of the server that writes down what reaches it (`journal-server.ts`), the journal, and several users.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type HttpServer, startHttpProgram } from './everything.ts';
import { ROOT, type RunningHub, startHub, until } from './hub.ts';
import { rpc } from './mcp.ts';

export interface Entry {
  readonly pid: number;
  readonly from?: string;
  readonly method?: string;
  readonly id?: number;
  readonly params?: { readonly uri?: string; readonly requestId?: number; readonly name?: string };
  readonly work?: string;
  readonly state?: string;
}

export class Journal implements Disposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'mcphub-journal-'));
  readonly #file = join(this.#dir, 'journal');

  get entries(): Entry[] {
    try {
      const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
      return lines.map((line) => JSON.parse(line) as Entry);
    } catch {
      return [];
    }
  }

  of(method: string): Entry[] {
    return this.entries.filter((entry) => entry.method === method);
  }

  state(work: string): string | undefined {
    return this.entries.findLast((entry) => entry.work === work)?.state;
  }

  /** A child of the hub, over stdin and stdout. */
  stdio(more: object = {}) {
    return { command: 'node', args: [SERVER, 'stdio'], env: { JOURNAL: this.#file }, ...more };
  }

  /** One process for everybody, over Streamable HTTP. */
  startHttp(): Promise<HttpServer> {
    return startHttpProgram([SERVER, 'http'], { JOURNAL: this.#file });
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

const SERVER = `${ROOT}/test/support/journal-server.ts`;

/** A hub whose servers are all ready. */
export async function startReadyHub(config: {
  readonly mcpServers: object;
  readonly groups?: object;
  readonly settings?: object;
  readonly limits?: object;
}): Promise<RunningHub> {
  const hub = await startHub({ config });
  await until(
    async () => {
      const { json } = await rpc(`${hub.url}/mcp`, 'tools/list', {}, { key: hub.key });
      const states = Object.values<{ state: string }>(json.result?._meta?.['mcphub/servers'] ?? {});
      return states.length === Object.keys(config.mcpServers).length && states.every(({ state }) => state === 'ready');
    },
    30_000,
    'all servers ready',
  );
  return hub;
}

/** The key of one more user; it works. */
export async function makeKey(hub: RunningHub, user: string): Promise<string> {
  const made = await fetch(`${hub.url}/api/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ user, name: 'test' }),
  });
  const body = (await made.json()) as { readonly secret?: string };
  const key = body.secret;
  if (key === undefined) throw new Error(`no key for ${user}: ${made.status} ${JSON.stringify(body)}`);
  await until(async () => (await rpc(`${hub.url}/mcp`, 'ping', {}, { key })).status === 200, 10_000, 'the key works');
  return key;
}

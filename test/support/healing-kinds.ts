/**
 * Servers that break and recover, each in its own way, side by side behind one hub. `break` and `mend` act on the
 * server alone: nobody tells the hub. A kind that is marked `steady` must answer every call, also between `break` and
 * `mend`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFaultHttp } from './fault-http.ts';
import type { FaultHttpFlags } from './fault-http-flags.ts';
import { startFaultSse } from './fault-sse.ts';
import { ROOT, tryKill } from './hub.ts';
import { stdioServer } from './load.ts';
import { scriptedProgram } from './scripted-server.ts';
import { FORMS, type Form, startSessionServer } from './session-server.ts';

export interface Kind {
  /** The server in mcp_settings.json. */
  readonly config: object;
  /** Native name of the tool that answers while the server is well. */
  readonly tool: () => string;
  /** `pids` = processes that the hub runs for this server. */
  readonly break?: (pids: readonly number[]) => void | Promise<void>;
  readonly mend?: () => void | Promise<void>;
  readonly steady?: true;
  /**
   * Its process exits after each answer, and its next call is made after that: a call that arrives in between is lost
   * with it.
   */
  readonly oneByOne?: true;
  readonly close?: () => PromiseLike<void>;
}

const echo = (): string => 'echo';
const http = (url: string): object => ({ type: 'http', url });

/** Forgets its sessions and says so in this form. It is well at once: a new session is all it needs. */
async function forgets(form: Form, ping?: 'always'): Promise<Kind> {
  const server = await startSessionServer({ form, ...(ping ? { ping } : {}) });
  return {
    ...{ config: http(server.url), tool: echo, break: () => server.forget() },
    close: () => server[Symbol.asyncDispose](),
  };
}

/** Ends, stays away until it is mended, or for a moment only, and comes back on its port without its sessions. */
async function restarts(how: { readonly quick?: true; readonly tools?: readonly string[] } = {}): Promise<Kind> {
  let server = await startSessionServer();
  const { port } = server;
  let tool = 'echo';
  const begin = async () => {
    server = await startSessionServer({ port, ...(how.tools ? { tools: how.tools } : {}) });
    tool = how.tools?.[0] ?? 'echo';
  };
  const end = async () => server[Symbol.asyncDispose]();
  return {
    config: http(server.url),
    tool: () => tool,
    async break() {
      await end();
      if (how.quick) await begin();
    },
    ...(how.quick ? {} : { mend: begin }),
    close: end,
  };
}

/** Has other tools, or the other era, from the fault on, and no session that could be lost. */
async function changes(what: 'tools' | 'to2026' | 'to2025'): Promise<Kind> {
  const server = await startSessionServer({ sessions: false });
  if (what === 'to2025') server.changeEra();
  let staleCalls = 0;
  return {
    config: http(server.url),
    tool() {
      staleCalls -= 1;
      return staleCalls >= 0 ? 'echo' : (server.tools[0] ?? '');
    },
    break() {
      // Its clients still know the old list: nothing else tells the hub of the new one.
      staleCalls = 2;
      if (what === 'tools') server.tools = ['other'];
      else server.changeEra();
    },
    close: () => server[Symbol.asyncDispose](),
  };
}

/** Answers with these faults until it is mended. */
async function answers(faults: Partial<FaultHttpFlags>, steady?: true): Promise<Kind> {
  const server = await startFaultHttp();
  return {
    config: http(server.url),
    tool: echo,
    break: () => void Object.assign(server.flags, { faultMethods: ['*'], ...faults }),
    mend() {
      for (const flag of ['faultMethods', ...Object.keys(faults)] as (keyof FaultHttpFlags)[])
        delete server.flags[flag];
    },
    ...(steady ? { steady } : {}),
    close: () => server.close(),
  };
}

/** HTTP+SSE: its stream ends, and new ones are refused or end at once until it is mended. */
async function dropsStream(get: 'status' | 'ends'): Promise<Kind> {
  const server = await startFaultSse();
  return {
    config: { type: 'sse', url: server.url },
    tool: echo,
    break() {
      server.flags.get = get;
      server.endStreams();
    },
    mend: () => void Object.assign(server.flags, { get: 'ok' }),
    close: () => server[Symbol.asyncDispose](),
  };
}

/** A child whose next lives go as `script` says while the file `$BROKEN` exists; its process is killed at the fault. */
function child(script: string, more: object = {}): Kind {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-healing-'));
  const broken = join(directory, 'broken');
  const start = `exec "${process.execPath}" "${ROOT}/test/support/fault-stdio.ts"`;
  const run = `[ -e "$BROKEN" ] && { ${script}; }; ${start} normal`;
  return {
    config: { command: 'sh', args: ['-c', run], env: { BROKEN: broken }, ...more },
    tool: echo,
    break(pids) {
      writeFileSync(broken, '');
      for (const pid of pids) tryKill(pid);
    },
    mend: () => rmSync(broken, { force: true }),
    close: async () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** A child that stands still: nobody mends it, but the next process would work. */
function stands(): Kind {
  const stop = (pids: readonly number[]) => {
    for (const pid of pids) tryKill(pid, 'SIGSTOP');
  };
  return { config: stdioServer(), tool: echo, break: stop };
}

/** A child that ends with code 0 after each answer to a call. */
const ONCE = `
const results = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'once', version: '1' } },
  'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
  'tools/call': { content: [{ type: 'text', text: 'once' }] },
};
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line);
  const answer = JSON.stringify({ jsonrpc: '2.0', id, result: results[method] || {} }) + '\\n';
  if (id !== undefined) process.stdout.write(answer, () => method === 'tools/call' && process.exit(0));
}).on('close', () => process.exit(0));
`;

/** Starts all kinds, by the name of their server. `startMs` = how long a child may take for its first answer. */
export async function startKinds(startMs: number): Promise<Readonly<Record<string, Kind>>> {
  const lost = ['notfound', 'text', 'badjson', 'event', 'okay', 'gone', 'unprocessable', 'broken'];
  const forms = lost.map(async (name) => [`lost${name}`, await forgets(FORMS[name] as Form)] as const);
  return {
    ...Object.fromEntries(await Promise.all(forms)),
    lostfreeping: await forgets(FORMS.unprocessable as Form, 'always'),
    quickrestart: await restarts({ quick: true }),
    refused: await restarts(),
    othertools: await restarts({ tools: ['other'] }),
    redeployed: await changes('tools'),
    to2026: await changes('to2026'),
    to2025: await changes('to2025'),
    unauthorized: await answers({ status: 401 }),
    hungget: await answers({ faultMethods: [], get: 'silent' }, true),
    hungposts: await answers({ silent: true }),
    badgateway: await answers({ badGatewayBytes: 2000 }),
    unavailable: await answers({ status: 503 }),
    page: await answers({ html: true }),
    ssedrops: await dropsStream('status'),
    sseends: await dropsStream('ends'),
    crashloop: child('exit 3'),
    silentstart: child(`${`exec "${process.execPath}" "${ROOT}/test/support/fault-stdio.ts"`} silent`, { startMs }),
    standing: stands(),
    once: { config: { command: process.execPath, args: ['-e', ONCE] }, tool: echo, steady: true, oneByOne: true },
    pingless: {
      config: scriptedProgram({ ping: '{"jsonrpc":"2.0","method":"notifications/nothing","params":{"of":$ID}}' }),
      ...{ tool: echo, steady: true },
    },
    goodhttp: await answers({ faultMethods: [] }, true),
    goodstdio: { config: stdioServer(), tool: echo, steady: true },
  };
}

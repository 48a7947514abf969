/**
 * Runs what the documents tell people to run, against a whole hub with the example servers, and compares what it
 * prints.
 * The hub lives in a home directory of its own, so that `~` and the default data directory mean what they say; only the
 * port in an address and `npx` (once tried for real) are put in. README.ko.md has the same blocks as README.md
 * (`readmes.test.ts`) and is not run again.
 */
// covers: A10, B6
// runs: about 30 s
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { parseConfig } from '../../src/config/parse.ts';
import { type Ran, run } from '../support/cli.ts';
import { CLI, ROOT, type RunningHub, startHub, until } from '../support/hub.ts';
import { rpc } from '../support/mcp.ts';
import { type Block, DOCUMENTS, documentFrom, readDocument } from './_documents.ts';

const READY_MS = 60_000;
const EXAMPLE_TOOLS = 54;
/** Its last commands take the data directory away and bring it back. */
const LAST = 'docs/operate.md';
const RUN_DOCUMENTS = [
  ...DOCUMENTS.filter((path) => path !== 'README.ko.md' && path !== LAST && !path.startsWith('docs/adr/')),
  LAST,
];

interface Step {
  readonly block: Block;
  readonly exit: number;
  /** The hub is stopped while it runs. */
  readonly stopped: boolean;
  readonly prints: string | undefined;
}

/** Marked commands of a document, each with the block that says what it prints. */
function stepsIn(blocks: readonly Block[]): Step[] {
  return blocks.flatMap((block, at) => {
    if (block.mark[0] !== 'run') return [];
    const next = blocks[at + 1];
    const exit = block.mark.find((word) => word.startsWith('exit='))?.slice('exit='.length) ?? '0';
    const prints = next?.mark[0] === 'prints' ? next.text : undefined;
    return [{ block, exit: Number(exit), stopped: block.mark.includes('stopped'), prints }];
  });
}

/** `…` in what is expected stands for anything. */
function isLike(expected: string, printed: string): boolean {
  const parts = expected
    .trim()
    .split('…')
    .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('[\\s\\S]*')}$`).test(printed.trim());
}

let home = '';
let hub: RunningHub;
const dataDir = (): string => join(home, '.local/share/mcphub');

async function start(key?: string): Promise<RunningHub> {
  const example = readFileSync(join(ROOT, 'examples/mcp_settings.json'), 'utf8');
  const started = await startHub({
    config: example.replaceAll('"cwd": ".."', `"cwd": ${JSON.stringify(ROOT)}`),
    dataDir: dataDir(),
    env: { HOME: home, TMPDIR: home },
    ...(key === undefined ? {} : { key }),
  });
  const isOk = async () => (await (await fetch(`${started.url}/health`)).text()) === '{"status":"ok"}';
  await until(isOk, READY_MS, 'all example servers are ready').catch(async (fault: unknown) => {
    await started[Symbol.asyncDispose]();
    throw fault;
  });
  return started;
}

function runText(text: string, cwd: string): Promise<Ran> {
  const script = text
    .replaceAll(/http:\/\/(127\.0\.0\.1|localhost):3000\b/g, hub.url)
    .replaceAll(/\bnpx mcphub\b/g, 'mcphub');
  const path = [join(home, 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter);
  const env = { HOME: home, PATH: path, MCPHUB_KEY: hub.key, XDG_DATA_HOME: '', XDG_CONFIG_HOME: '' };
  return run('bash', ['-euo', 'pipefail', '-c', script], { cwd, env });
}

before(async () => {
  home = mkdtempSync(join(tmpdir(), 'mcphub-docs-'));
  mkdirSync(dataDir(), { recursive: true, mode: 0o700 });
  mkdirSync(join(home, 'bin'));
  writeFileSync(join(home, 'bin/mcphub'), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`);
  chmodSync(join(home, 'bin/mcphub'), 0o755);
  hub = await start();
});

after(async () => {
  await hub?.[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

/** Stopped or running, as the next command needs it. */
async function bring(state: 'up' | 'down'): Promise<void> {
  const isUp = hub.child.exitCode === null;
  if (state === 'down' && isUp) assert.equal(await hub.stop(), 0, hub.log.slice(-2000));
  if (state === 'up' && !isUp) hub = await start(hub.key);
}

async function countTools(headers: Record<string, string>, session?: string): Promise<number> {
  const listed = await rpc(`${hub.url}/mcp`, 'tools/list', {}, { headers, session });
  return listed.json.result.tools.length;
}

for (const path of RUN_DOCUMENTS) {
  for (const { block, exit, stopped, prints } of stepsIn(readDocument(path).blocks)) {
    test(`${path}:${block.line} runs as written: ${block.text.split('\n')[0]?.slice(0, 60)}`, async () => {
      await bring(stopped ? 'down' : 'up');
      // Commands with the hub stopped leave files behind; the others are meant for the root of a clone.
      const ran = await runText(block.text, stopped ? home : ROOT);
      assert.equal(ran.code, exit, `${ran.stdout}${ran.stderr}`);
      if (prints !== undefined && !isLike(prints, ran.stdout)) assert.equal(ran.stdout.trim(), prints.trim());
    });
  }
}

test('after the backup and the way back the keys are there and see the same tools', async () => {
  assert.equal(hub.child.exitCode, 0, 'the way back is the last thing that was tried');
  await bring('up');
  assert.equal(await countTools({ authorization: `Bearer ${hub.key}` }), EXAMPLE_TOOLS);
  // The hub would make its first key anew; the one that a document had made is only in the store.
  const keys = await runText('npx mcphub keys list', ROOT);
  assert.match(keys.stdout, /\balice +laptop +member +demo\b/);
});

test('the snippet for Cursor of both READMEs connects, opens a session and lists every tool', async () => {
  for (const path of ['README.md', 'README.ko.md']) {
    const [block] = readDocument(path).blocks.filter(({ mark }) => mark[0] === 'cursor');
    const { mcpServers } = JSON.parse(block?.text ?? '');
    const { type, url, headers } = mcpServers['mcp-hub'];
    assert.equal(type, 'streamable-http');
    assert.equal(url, 'http://localhost:3000/mcp');
    const authorization = headers.Authorization.replace('mcphub_<64 hex digits>', hub.key);
    assert.ok(authorization.endsWith(hub.key));
    const here = { headers: { authorization } };
    const hello = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'cursor', version: '1' } };
    const opened = await rpc(`${hub.url}/mcp`, 'initialize', hello, here);
    assert.equal(opened.json.result.protocolVersion, '2025-06-18');
    assert.equal(await countTools(here.headers, opened.session ?? undefined), EXAMPLE_TOOLS);
  }
});

test('the configuration of both READMEs is good', () => {
  for (const path of ['README.md', 'README.ko.md']) {
    const [block] = readDocument(path).blocks.filter(({ mark }) => mark[0] === 'config');
    const { config, problems } = parseConfig(block?.text ?? '', '/srv/mcp_settings.json', {});
    assert.deepEqual(problems, [], path);
    assert.equal(config?.servers.length, 2);
  }
});

test('every shell block is marked, so that none is left untried', () => {
  const loose = DOCUMENTS.flatMap((path) =>
    readDocument(path).blocks.filter(({ language, mark }) => /^(sh|bash|shell)$/.test(language) && mark.length === 0),
  );
  assert.deepEqual(
    loose.map(({ doc, line }) => `${doc}:${line}`),
    [],
  );
  assert.ok(RUN_DOCUMENTS.flatMap((path) => stepsIn(readDocument(path).blocks)).length >= 15);
});

test('what is printed is compared to the letter, but for an ellipsis', () => {
  assert.ok(isLike('{"a":1}', '{"a":1}\n'));
  assert.ok(isLike('…/x.json: 5 servers', '/a/b/x.json: 5 servers'));
  assert.ok(!isLike('{"a":1}', '{"a":12}'));
  assert.ok(!isLike('50', '500'));
  assert.ok(!isLike('…x', 'xy'));
  const { blocks } = documentFrom('x.md', 'a\n\n   <!-- test: run exit=3 -->\n   ```sh\n   false\n   ```\n');
  assert.deepEqual(
    stepsIn(blocks).map(({ block, exit }) => [block.text, exit, block.line]),
    [['false', 3, 4]],
  );
});

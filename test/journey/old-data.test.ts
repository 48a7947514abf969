/**
 * A data directory of an earlier version: commit 3b9ef41, store version 4. `fixtures/data-of-3b9ef41` has its rows as
 * JSON, its snapshot, and the session ids that it had issued, sealed with the secret below.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { createKeyRing } from '../../src/seal/key-ring.ts';
import { decodeSessionToken } from '../../src/session/session-token.ts';
import { mcphub } from '../support/cli.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { faultServer } from '../support/real-servers.ts';

const FIXTURE = join(import.meta.dirname, 'fixtures/data-of-3b9ef41');
const SECRET = createHash('sha256').update('a secret for a test').digest('hex');
const [OWNER = '', MEMBER = '', REVOKED = ''] = ['0', '1', '2'].map((digit) => `mcphub_${digit.repeat(64)}`);

interface Stored {
  readonly version: number;
  readonly schema: readonly string[];
  readonly rows: Readonly<Record<string, readonly Record<string, SQLInputValue>[]>>;
}

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(join(FIXTURE, name), 'utf8')) as T;
}

const issued = fixture<Record<'kept' | 'ended', string>>('issued.json');

function writeStore(file: string): void {
  const { version, schema, rows } = fixture<Stored>('store.json');
  using db = new DatabaseSync(file);
  for (const sql of schema) db.exec(sql);
  for (const [table, found] of Object.entries(rows))
    for (const stored of found) {
      // Records of sessions older than a day are removed at the start.
      const row = table === 'session_marks' ? { ...stored, at: Date.now() } : stored;
      const names = Object.keys(row);
      const places = names.map(() => '?').join(', ');
      db.prepare(`insert into "${table}" (${names.join(', ')}) values (${places})`).run(...Object.values(row));
    }
  db.exec(`pragma user_version = ${version}`);
}

describe('a data directory of commit 3b9ef41', { timeout: 90_000 }, () => {
  let hub: RunningHub;
  let dataDir: string;
  before(async () => {
    dataDir = mkdtempSync(join(tmpdir(), 'mcphub-old-data-'));
    writeStore(join(dataDir, 'mcphub.db'));
    copyFileSync(join(FIXTURE, 'hub-1.snapshot.json'), join(dataDir, 'hub-1.snapshot.json'));
    hub = await startHub({
      config: { mcpServers: { one: faultServer('updates') }, groups: { team: { servers: ['one'] } } },
      dataDir,
      key: OWNER,
      env: { MCPHUB_SECRET: SECRET },
    });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const echo = async (key: string) => {
    const { status, json } = await callTool(`${hub.url}/mcp`, 'one_echo', { text: 'x' }, { key });
    return [status, json?.result?.content[0].text];
  };

  test('keeps its keys: valid ones work, revoked ones are refused', async () => {
    await until(async () => (await echo(OWNER))[1] === 'x', 20_000, 'the owner key works');
    assert.deepEqual(await echo(MEMBER), [200, 'x']);
    assert.equal((await echo(REVOKED))[0], 401);
    const { stdout } = await mcphub(['keys', 'list', '--data-dir', dataDir]);
    assert.match(stdout, /kim +laptop +member +team/);
    assert.match(stdout, /lee +old laptop .*revoked/);
  });

  test('keeps its ended sessions and the settings of the others', () => {
    using db = new DatabaseSync(join(dataDir, 'mcphub.db'), { readOnly: true });
    const stored = db.prepare('select id, wishes from session_marks').all();
    const ring = createKeyRing([Buffer.from(SECRET)]);
    const [kept, ended] = [issued.kept, issued.ended].map((id) => {
      const opened = ring.open('session', id);
      return opened && decodeSessionToken(opened);
    });
    const facts = {
      path: 'all',
      version: '2025-06-18',
      clientName: 'old client',
      clientVersion: '1',
      capabilityBits: 0,
    };
    assert.partialDeepStrictEqual(kept, facts);
    assert.partialDeepStrictEqual(ended, facts);
    const found = new Map(stored.map(({ id, wishes }) => [id, wishes]));
    assert.equal(found.get(ended?.random ?? ''), null);
    assert.match(String(found.get(kept?.random ?? '')), /"level":"warning".*fault:\/\/clock/);
  });
});

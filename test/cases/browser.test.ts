/**
 * SDK v2 in a page in Chromium, at an origin that the settings allow: both protocol eras work, and errors and health are readable.
 */
// case: CL5, CL6, CL7
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Page, startPage } from '../support/browser.ts';
import { ROOT, type RunningHub, startHub } from '../support/hub.ts';
import { faultServer } from '../support/real-servers.ts';
import { MODERN } from '../support/stateless.ts';

interface Seen {
  readonly fault?: string;
  readonly tools: readonly string[];
  readonly progress: readonly number[];
  readonly cancelled: boolean;
  readonly texts: readonly string[];
  readonly refused: readonly unknown[];
  readonly health: readonly unknown[];
}

describe('a page in a browser', { timeout: 240_000 }, () => {
  let page: Page;
  let hub: RunningHub;
  before(async () => {
    page = await startPage(join(ROOT, 'test/support/page-client.ts'));
    hub = await startHub({
      config: { mcpServers: { fault: faultServer('normal') }, settings: { allowedOrigins: [page.origin] } },
    });
  });
  after(async () => {
    await page?.close();
    await hub?.[Symbol.asyncDispose]();
  });

  const negotiations = {
    'SDK v2, legacy': {},
    'SDK v2, automatic': { versionNegotiation: { mode: 'auto' } },
    'SDK v2, pinned to 2026-07-28': { versionNegotiation: { mode: { pin: MODERN } } },
  };
  for (const [name, options] of Object.entries(negotiations))
    test(`${name}: connects, lists, calls, receives progress, cancels, reads errors and health`, async () => {
      const seen = (await page.open({ url: hub.url, key: hub.key, options })) as Seen;
      assert.equal(seen.fault, undefined);
      assert.ok(seen.tools.includes('fault_echo'), seen.tools.join());
      assert.deepEqual(seen.texts, ['from a page', 'after']);
      assert.deepEqual(seen.progress, [1, 2, 3]);
      assert.equal(seen.cancelled, true);
      assert.deepEqual(seen.refused, [401, 'Bearer', '2.0']);
      assert.deepEqual(seen.health, [200, 'ok']);
    });

  test('of an origin that is not allowed reads nothing', async () => {
    await using closed = await startHub({ config: { mcpServers: {} } });
    const seen = (await page.open({ url: closed.url, key: closed.key, options: {} })) as Seen;
    assert.match(seen.fault ?? '', /Failed to fetch/);
  });
});

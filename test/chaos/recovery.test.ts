/**
 * Real outages of real servers that are called all the time: how long after a server is back it serves again, and what
 * is left on it.
 */
// covers: P16
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type FaultHttp, startFaultHttp } from '../support/fault-http.ts';
import { delay, ROOT, type RunningHub, startHub, tryKill, until } from '../support/hub.ts';
import { Client, isResult, slowness } from '../support/load.ts';
import { IS_LONG, measured } from '../support/measured.ts';
import { isUnharmed } from '../support/unharmed.ts';

const OUTAGES_MS = IS_LONG ? [1000, 30_000, 300_000] : [2000];
/** Of the promise: by itself, and when a person asks for it. */
const BACK_MS = 65_000;
const ASKED_MS = 5000;

/** A child that cannot start while a file is there. */
class Child implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'mcphub-recovery-'));
  readonly #broken = join(this.#directory, 'broken');

  get config(): object {
    const run = `[ -e "${this.#broken}" ] && exit 3; exec "${process.execPath}" "${ROOT}/test/support/fault-stdio.ts" normal`;
    return { command: 'sh', args: ['-c', run] };
  }

  breaks(): void {
    writeFileSync(this.#broken, '');
  }

  isMended(): void {
    rmSync(this.#broken, { force: true });
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Somebody calls it again and again, as clients do that know of no outage. */
async function calling(hub: RunningHub, tool: string, stopped: AbortSignal): Promise<void> {
  const client = new Client(hub);
  while (!stopped.aborted) {
    await client.call(tool, { text: 'x' });
    await delay(100);
  }
  client.close();
}

/** ms until a call is answered as it should be. */
async function servesAgain(hub: RunningHub, tool: string): Promise<number> {
  const client = new Client(hub);
  const ms = await until(async () => isResult(await client.call(tool, { text: 'x' })), BACK_MS + 10_000, tool);
  client.close();
  return ms;
}

async function askAgain(hub: RunningHub, server: string): Promise<void> {
  const answer = await fetch(`${hub.url}/api/servers/${server}/restart`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}` },
  });
  assert.ok(answer.ok, `${answer.status} ${await answer.text()}`);
}

// row A14 · guards src/upstream/link/reconnect-backoff.ts
test('servers that are gone for a second or for long serve again soon after they are back, and at once when asked', {
  timeout: 1_800_000,
}, async () => {
  using child = new Child();
  let web: FaultHttp = await startFaultHttp();
  const { port } = web;
  // By chance a child may have got its longest rest: in CI nobody waits for that.
  const env = IS_LONG ? {} : { MCPHUB_RESTART_CAP_MS: '10000' };
  await using hub = await startHub({ config: { mcpServers: { web: { url: web.url }, child: child.config } }, env });
  const stopped = new AbortController();
  try {
    await Promise.all(['web_echo', 'child_echo'].map((tool) => servesAgain(hub, tool)));
    const callers = ['web_echo', 'child_echo'].map((tool) => calling(hub, tool, stopped.signal));
    for (const outageMs of OUTAGES_MS) {
      for (const isAsked of [false, true]) {
        await web.close();
        child.breaks();
        const client = new Client(hub);
        const pid = /"text":"(\d+)"/.exec((await client.call('child_pid')).text)?.[1];
        client.close();
        tryKill(Number(pid));
        await delay(outageMs);
        web = await startFaultHttp({ port });
        child.isMended();
        if (isAsked) await Promise.all(['web', 'child'].map((server) => askAgain(hub, server)));
        const [webMs = 0, childMs = 0] = await Promise.all(
          ['web_echo', 'child_echo'].map((tool) => servesAgain(hub, tool)),
        );
        const how = `${isAsked ? 'when asked' : 'by itself'}, after ${outageMs / 1000} s`;
        const slow = await slowness();
        const gate = isAsked ? { strict: ASKED_MS, ci: ASKED_MS * 2 * slow } : { strict: BACK_MS };
        measured({ promise: 'P16', what: `a remote server is back ${how}`, value: webMs, unit: 'ms', ...gate });
        measured({ promise: 'P16', what: `a child is back ${how}`, value: childMs, unit: 'ms', ...gate });
        assert.ok(web.seen.sessions <= 1, `${web.seen.sessions} sessions are on it`);
      }
    }
    stopped.abort();
    await Promise.all(callers);
    await isUnharmed(hub, 'web_echo');
  } finally {
    stopped.abort();
    await web.close();
  }
});

/**
 * A server that floods the hub does not stall it: the longest turn of the loop stays short, whatever the server sends.
 * Measured as CPU time of the thread, with the real transports and the server in a process of its own.
 * covers: P11, B12
 */
// runs: in pairs, about 30 s
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { CpuSpeed } from '../support/cpu-speed.ts';
import { until } from '../support/hub.ts';
import { httpSpec, LiveFleet, sseSpec } from '../support/live-fleet.ts';
import { longestTurnMs } from '../support/loop-turns.ts';
import { measured, scaled } from '../support/measured.ts';
import { serverSpec } from '../support/stdio-rig.ts';

const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
/** A turn may take this long; without the limits the corpora take 100 ms to 1.5 s. */
const CI_MS = 45;
const STRICT_MS = 10;
/** A turn that collects garbage is not the corpus's: the best of so many runs counts. */
const RUNS = scaled({ ci: 2, long: 5 });

const notice = (method: string, params: object): string => JSON.stringify({ jsonrpc: '2.0', method, params });
const ask = (method: string, params: object): string => JSON.stringify({ jsonrpc: '2.0', id: 7, method, params });

/** 150,000 members whose names begin as one that the hub looks for, each letter an escape. */
const ESCAPED = Array.from({ length: 150_000 }, (_, at) => `"\\u0075\\u0072\\u0069${at}":1`).join(',');

const MESSAGES: Readonly<Record<string, readonly [text: string, times: number]>> = {
  'log lines': [notice('notifications/message', { level: 'info', data: 'x' }), 20_000],
  progress: [notice('notifications/progress', { progressToken: 0, progress: 1 }).replace(':0,', ':@ID@,'), 20_000],
  'resource updates': [notice('notifications/resources/updated', { uri: 'a://b' }), 20_000],
  'announced changes': [notice('notifications/tools/list_changed', {}), 20_000],
  'cancelled questions': [notice('notifications/cancelled', { requestId: 5 }), 20_000],
  questions: [ask('elicitation/create', { message: 'x', requestedSchema: {} }), 20_000],
  pings: [ask('ping', {}), 20_000],
  'replies to nothing': ['{"jsonrpc":"2.0","id":1,"result":{}}', 20_000],
  'broken replies': ['{"jsonrpc":"2.0","id":1,"result":5,"error":5}', 20_000],
  'empty objects': ['{}', 20_000],
  'millions of values': [
    notice('notifications/message', { data: 'x' }).replace('"x"', `[${'1,'.repeat(1_000_000)}1]`),
    4,
  ],
  'replies of millions of values': [`{"jsonrpc":"2.0","id":1,"result":{"a":[${'1,'.repeat(1_000_000)}\\q]}}`, 4],
  'params of many members': [`{"jsonrpc":"2.0","method":"a","params":{${ESCAPED}}}`, 8],
  'metadata of many members': [`{"jsonrpc":"2.0","method":"a","params":{"_meta":{${ESCAPED}}}}`, 4],
};

const dir = mkdtempSync(join(tmpdir(), 'mcphub-floods-'));
after(() => rmSync(dir, { recursive: true }));
let files = 0;

async function hostile(wire: string): Promise<{ spec: ServerSpec; end: () => void }> {
  if (wire === 'stdio') {
    const child = { command: process.execPath, args: [SCRIPT, '2025'], env: {}, cwd: undefined };
    return { spec: serverSpec(child, { name: 'h', slug: 'h' }), end: () => {} };
  }
  const child = spawn(process.execPath, [SCRIPT, '2025', wire], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  const url = chunk.toString().trim();
  const spec = wire === 'sse' ? sseSpec('h', url) : httpSpec('h', url);
  return { spec, end: () => child.kill('SIGKILL') };
}

async function turnsOf(
  wire: string,
  corpora: Readonly<Record<string, (live: LiveFleet) => Promise<unknown>>>,
): Promise<Record<string, number>> {
  const { spec, end } = await hostile(wire);
  try {
    await using live = new LiveFleet();
    live.registry.apply([spec]);
    await live.ready('h');
    const figures: Record<string, number> = {};
    for (const [what, run] of Object.entries(corpora)) {
      let ms = await longestTurnMs(() => run(live));
      for (let runs = 1; runs < RUNS && ms > STRICT_MS / 2; runs += 1)
        ms = Math.min(ms, await longestTurnMs(() => run(live)));
      figures[what] = Math.round(ms * 10) / 10;
    }
    return figures;
  } finally {
    end();
  }
}

/** What ends the response that it comes on, before the tool's own answer. */
const ENDS_A_RESPONSE: ReadonlySet<string> = new Set([
  'empty objects',
  'broken replies',
  'millions of values',
  'replies of millions of values',
  'params of many members',
]);

function judge(where: string, figures: Readonly<Record<string, number>>): void {
  const gate = { promise: 'P11', unit: 'ms CPU', strict: STRICT_MS, ci: new CpuSpeed().gate(CI_MS) };
  measured(
    ...Object.entries(figures).map(([what, value]) => ({ ...gate, what: `longest turn: ${what} ${where}`, value })),
  );
}

/** Before the turns are measured: a call with megabytes of arguments would make a long turn of its own. */
function flood(text: string, times: number, to = 'stdout'): (live: LiveFleet) => Promise<unknown> {
  files += 1;
  const file = join(dir, String(files));
  writeFileSync(file, text, 'latin1');
  return (live) => live.text('h', 'flood', { file, times, to });
}

// finding: SR-M6
for (const wire of ['stdio', 'http-sse', 'sse'])
  test(`a flood of messages over ${wire} does not stall the loop`, async () => {
    const corpora = Object.entries(MESSAGES).filter(([what]) => !ENDS_A_RESPONSE.has(what) || wire !== 'http-sse');
    const figures = await turnsOf(
      wire,
      Object.fromEntries(corpora.map(([what, [text, times]]) => [what, flood(text, times)])),
    );
    judge(`over ${wire}`, figures);
  });

// finding: SR-M6
test('a flood of stderr does not stall the loop', async () => {
  const figures = await turnsOf('stdio', {
    'an escape sequence without end': flood(`\u001b[${'!'.repeat(8100)}`, 64, 'stderr'),
    'carriage returns': flood(`${'\r'.repeat(8190)}x`, 64, 'stderr'),
    'short lines': flood('a', 500_000, 'stderr'),
    'no line end': flood('x'.repeat(60_000), 40, 'stderr'),
  });
  judge('in stderr', figures);
});

// finding: SR-M6
test('a large list that differs each time does not stall the loop', async () => {
  const figures = await turnsOf('http', {
    'a list of 4 MB': async (live) => {
      const before = live.facts.length;
      await live.text('h', 'list', { size: 4_000_000 });
      let read = 0;
      live.registry.onListed(() => {
        read += 1;
      });
      live.registry.restart('h');
      await until(() => read > 0, 10_000, `the list is read (${before})`);
    },
  });
  judge('over http', figures);
});

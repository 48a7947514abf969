/**
 * A server that sends megabytes that are slow to read does not stall the loop, whatever they are and by whichever
 * transport they come: they are read a part in each turn. Measured as CPU time of the longest turn, with the real
 * transports and the server in a process of its own.
 * covers: P11, B12
 */
// runs: in pairs, about 90 s
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ServerSpec } from '../../src/model/snapshot.ts';
import { CpuSpeed, median } from '../support/cpu-speed.ts';
import { EVENTS, LINES, MESSAGES, type Shapes } from '../support/hostile-shapes.ts';
import { delay } from '../support/hub.ts';
import { httpSpec, LiveFleet, sseSpec } from '../support/live-fleet.ts';
import { longestTurnMs } from '../support/loop-turns.ts';
import { IS_LONG, measured, scaled } from '../support/measured.ts';
import { serverSpec } from '../support/stdio-rig.ts';

const SCRIPT = new URL('../support/hostile-server.ts', import.meta.url).pathname;
/** Read at once they take 20 to 120 ms. */
const CI_MS = 30;
const STRICT_MS = 10;
const RUNS = scaled({ ci: 3, long: 5 });
/** In CI each transport gets every so many of the messages, and all of its own forms. */
const EVERY = scaled({ ci: 6, long: 1 });
const CALL_MS = 4000;
/** What has no line end is taken for whole after 200 ms, and read then. */
const REST_MS = 300;

const dir = mkdtempSync(join(tmpdir(), 'mcphub-shapes-'));
after(() => rmSync(dir, { recursive: true }));

async function hostile(wire: string): Promise<{ spec: ServerSpec; end: () => void }> {
  if (wire === 'stdio') {
    const child = { command: process.execPath, args: [SCRIPT, '2025'], env: {}, cwd: undefined };
    return { spec: serverSpec(child, { name: 'h', slug: 'h' }), end: () => {} };
  }
  const child = spawn(process.execPath, [SCRIPT, '2025', wire], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  const url = chunk.toString().trim();
  return { spec: wire === 'sse' ? sseSpec('h', url) : httpSpec('h', url), end: () => child.kill('SIGKILL') };
}

/** The message as the wire carries it. */
function framed(wire: string, message: Buffer): Buffer {
  if (wire === 'http') return message;
  if (wire === 'stdio') return Buffer.concat([message, Buffer.from('\n')]);
  return Buffer.concat([Buffer.from('data: '), message, Buffer.from('\n\n')]);
}

async function longestMs(live: LiveFleet, file: string): Promise<number> {
  return longestTurnMs(async () => {
    using deadline = live.runtime.deadline(CALL_MS);
    await live.call('h', 'raw', { file }, { deadline });
    await delay(REST_MS);
  });
}

/** The best of the runs in CI, where a turn may hold a collection of garbage; in the long tier the median. */
async function turnsOf(wire: string, shapes: Shapes): Promise<Record<string, number>> {
  const { spec, end } = await hostile(wire);
  try {
    await using live = new LiveFleet({ limits: { breakerFailures: 1_000_000 } });
    live.registry.apply([spec]);
    await live.ready('h');
    const figures: Record<string, number> = {};
    for (const [what, make] of Object.entries(shapes)) {
      const file = join(dir, 'bytes');
      writeFileSync(file, make());
      const turns: number[] = []; // bounded by: RUNS
      while (turns.length < RUNS && (IS_LONG || turns.length === 0 || Math.min(...turns) > STRICT_MS / 2)) {
        turns.push(await longestMs(live, file));
        await live.ready('h');
        await live.call('h', 'well');
      }
      figures[what] = Math.round((IS_LONG ? median(turns) : Math.min(...turns)) * 10) / 10;
    }
    return figures;
  } finally {
    end();
  }
}

function judge(wire: string, figures: Readonly<Record<string, number>>): void {
  const gate = { promise: 'P11', unit: 'ms CPU', strict: STRICT_MS, ci: new CpuSpeed().gate(CI_MS) };
  measured(
    ...Object.entries(figures).map(([what, value]) => ({ ...gate, what: `longest turn: ${what} over ${wire}`, value })),
  );
}

// finding: SR-M6
for (const [at, wire] of ['stdio', 'http', 'http-sse', 'sse'].entries())
  test(`megabytes that are slow to read do not stall the loop over ${wire}`, async () => {
    const some = Object.entries(MESSAGES).filter((_, nth) => nth % EVERY === at % EVERY);
    const messages = some.map(([what, make]) => [what, () => framed(wire, make())] as const);
    const own = wire === 'stdio' ? LINES : wire === 'http' ? {} : EVENTS;
    judge(wire, await turnsOf(wire, { ...Object.fromEntries(messages), ...own }));
  });

/** Common wrappers (a shell, npx, uvx), started and stopped repeatedly: no process of theirs remains. */
// runs: about 35 s
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../../../test/support/hub.ts';
import { scaled } from '../../../test/support/measured.ts';
import { FAULT, Rig } from '../../../test/support/stdio-rig.ts';
import { livingMarked } from '../terminate/sweep.ts';

const SERVER = `"${process.execPath}" "${FAULT}"`;
/**
 * The server is a child of the wrapper, beside one that ignores the end of its input and SIGTERM, and one that left the
 * group.
 */
const FAMILY = `setsid sleep 600 & ${SERVER} ignores-sigterm <&0 & ${SERVER} normal; wait`;

// row B4 · guards src/subprocess/terminate/sweep.ts, src/subprocess/spawn/child.ts
test('a shell, an npx and a uvx that are started and stopped again and again leave nobody', {
  skip: process.platform !== 'linux',
  timeout: 300_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-wrappers-'));
  try {
    const runner = `#!/bin/sh\ncase "$*" in *"node -e 0"|*"python -c "*) exit 0;; esac\n${FAMILY}\n`;
    for (const name of ['npx', 'uvx']) writeFileSync(join(directory, name), runner, { mode: 0o755 });
    const wrappers = [
      { command: 'sh', args: ['-c', FAMILY] },
      { command: join(directory, 'npx'), args: ['-y', 'pkg@1.0.0'] },
      { command: join(directory, 'uvx'), args: ['pkg@1.0.0'] },
    ];
    for (let round = 0; round < scaled({ ci: 20, long: 100 }); round += 1) {
      const rigs = wrappers.map(
        (wrapper) => new Rig([], { limits: { childTermMs: 100 }, process: { ...wrapper, env: { HOME: directory } } }),
      );
      await Promise.all(rigs.map((rig) => rig.start()));
      // In every second round the processes are stopped while they start.
      if (round % 2 === 0) {
        await Promise.all(rigs.map((rig) => rig.ask(1, 'initialize', { protocolVersion: '2025-11-25' })));
        for (const rig of rigs) await until(async () => (await livingMarked(rig.mark)).length >= 4, 5000, 'the family');
      }
      await Promise.all(rigs.map((rig) => rig.stop()));
      for (const rig of rigs) assert.deepEqual(await livingMarked(rig.mark), [], `round ${round}`);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

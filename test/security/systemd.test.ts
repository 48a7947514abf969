/** The systemd unit that the project ships: valid, and confined as far as programs that servers need allow. */
// finding: SR-L9
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../support/hub.ts';

const UNIT = join(ROOT, 'deploy/systemd/mcphub.service');
/** What a unit without any hardening reaches is 92 of 100; this one 40. */
const MOST_EXPOSED = 45;

test('the unit confines the hub and its servers', () => {
  const lines = new Set(readFileSync(UNIT, 'utf8').split('\n'));
  for (const line of [
    ...['NoNewPrivileges=yes', 'ProtectSystem=strict', 'ProtectHome=yes', 'PrivateTmp=yes', 'PrivateDevices=yes'],
    ...[
      'StateDirectoryMode=0700',
      'UMask=0077',
      'CapabilityBoundingSet=',
      'RestrictSUIDSGID=yes',
      'ProtectProc=invisible',
    ],
  ])
    assert.ok(lines.has(line), line);
});

const analyzer = spawnSync('systemd-analyze', ['--version']).status === 0;

test('systemd accepts the unit and rates its exposure as low', { skip: !analyzer && 'no systemd here' }, () => {
  const security = ['security', '--offline=yes', `--threshold=${MOST_EXPOSED}`, UNIT];
  for (const args of [['verify', UNIT], security]) {
    const { status, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
  }
});

import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { directoryWarnings, otherWriters, unsafeSocketDir } from './file-access.ts';

// finding: SR-L12
test('names who besides the user and root may write a file', () => {
  const me = 1000;
  const cases: readonly [access: Parameters<typeof otherWriters>[0], expected: RegExp | undefined][] = [
    [{ uid: 1000, gid: 1000, mode: 0o100644 }, undefined],
    [{ uid: 1000, gid: 1000, mode: 0o100664 }, undefined],
    [{ uid: 0, gid: 0, mode: 0o100644 }, undefined],
    [{ uid: 1000, gid: 100, mode: 0o100664 }, /^group 100 \(mode 664\)$/],
    [{ uid: 0, gid: 27, mode: 0o100660 }, /^group 27 /],
    [{ uid: 1000, gid: 1000, mode: 0o100666 }, /^every user of this machine \(mode 666\)$/],
    [{ uid: 1000, gid: 1000, mode: 0o40777 }, /^every user/],
    [{ uid: 1001, gid: 1001, mode: 0o100600 }, /^user 1001/],
  ];
  for (const [access, expected] of cases) {
    const found = otherWriters(access, me);
    if (expected) assert.match(found ?? '', expected);
    else assert.equal(found, undefined, JSON.stringify(access));
  }
});

function tree(run: (dir: string) => void): void {
  const dir = mkdtempSync(join(tmpdir(), 'mcphub-access-'));
  try {
    run(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

// finding: SR-L5
test('a directory that others may write is warned of, with what to do', () => {
  tree((dir) => {
    assert.deepEqual(directoryWarnings(join(dir, 'none')), []);
    assert.deepEqual(directoryWarnings(dir), []);
    chmodSync(dir, 0o777);
    assert.match(directoryWarnings(dir)[0] ?? '', /can be written by every user.*mode 777.*chmod go-w/);
  });
});

// finding: SR-L5
test('a socket directory is refused when it is a link, another user’s or open to others', () => {
  tree((dir) => {
    const run = join(dir, 'run');
    assert.equal(unsafeSocketDir(run), undefined);
    mkdirSync(run, { mode: 0o700 });
    assert.equal(unsafeSocketDir(run), undefined);
    symlinkSync(run, join(dir, 'link'));
    assert.match(unsafeSocketDir(join(dir, 'link')) ?? '', /is not a directory/);
    chmodSync(run, 0o750);
    assert.match(unsafeSocketDir(run) ?? '', /mode 750.*chmod 700/);
    chmodSync(run, 0o700);
    assert.match(unsafeSocketDir(run, (process.getuid?.() ?? 0) + 1) ?? '', /belongs to user/);
    if (process.getuid?.() !== 0) return;
    chownSync(run, 65_534, 65_534);
    assert.match(unsafeSocketDir(run) ?? '', /belongs to user 65534/);
  });
});

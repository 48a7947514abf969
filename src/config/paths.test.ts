/** Directories and sockets on this machine. */
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { dataDirFrom, relaySocketPath, runDirFor, socketPath } from './paths.ts';

test('the flag wins over the variable, the variable over XDG, XDG over the platform', () => {
  const env = { MCPHUB_DATA_DIR: '/from/env', XDG_DATA_HOME: '/xdg' };
  assert.equal(dataDirFrom(env, '/home/x', '/from/flag', 'linux'), '/from/flag');
  assert.equal(dataDirFrom(env, '/home/x', undefined, 'linux'), '/from/env');
  assert.equal(dataDirFrom({ XDG_DATA_HOME: '/xdg' }, '/home/x', undefined, 'linux'), '/xdg/mcphub');
  assert.equal(dataDirFrom({}, '/home/x', undefined, 'linux'), '/home/x/.local/share/mcphub');
  assert.equal(dataDirFrom({}, '/Users/x', undefined, 'darwin'), '/Users/x/Library/Application Support/mcphub');
  assert.equal(dataDirFrom({ LOCALAPPDATA: '/local' }, '/home/x', undefined, 'win32'), join('/local', 'mcphub'));
});

test('empty and relative values do not count, and a relative flag becomes absolute', () => {
  assert.equal(
    dataDirFrom({ MCPHUB_DATA_DIR: '', XDG_DATA_HOME: 'relative' }, '/h', '', 'linux'),
    '/h/.local/share/mcphub',
  );
  assert.equal(dataDirFrom({}, '/h', 'here', 'linux'), join(process.cwd(), 'here'));
  assert.notEqual(dataDirFrom({}, '', undefined, 'linux'), '.local/share/mcphub');
});

test('sockets lie in the data directory while their path fits', () => {
  assert.equal(runDirFor('/var/lib/mcphub'), '/var/lib/mcphub/run');
  const longest = 100 - '/run/control-99.sock'.length;
  const fits = `/${'d'.repeat(longest - 1)}`;
  assert.equal(runDirFor(fits), `${fits}/run`);
  assert.notEqual(runDirFor(`${fits}d`), `${fits}d/run`);
});

test('a long or non-ASCII data directory gets a short run directory of its own', () => {
  const long = runDirFor(`/${'한'.repeat(33)}`);
  assert.match(long.slice(tmpdir().length), /^[/\\]mcphub-\d+-[0-9a-f]{8}$/);
  assert.notEqual(long, runDirFor(`/${'한'.repeat(34)}`));
  assert.equal(long, runDirFor(`/${'한'.repeat(33)}`));
});

test('sockets have the names that the supervisor and its processes agree on', () => {
  assert.equal(socketPath('/r', 'hub', 2), '/r/hub-2.sock');
  assert.equal(socketPath('/r', 'control', 0), '/r/control.sock');
  assert.equal(relaySocketPath('/r'), '/r/relay.sock');
});

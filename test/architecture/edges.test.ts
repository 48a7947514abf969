/**
 * Laws 1 and 5: timers, outside I/O and blocking calls live in the files of this table and nowhere else.
 * covers: L1, L5
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Edge, edgeUses, idleEdges, unlistedUses } from './_edges.ts';
import { readTree, snippet } from './_tree.ts';

function edge(path: string, kinds: Edge['kinds'], why: string): Edge {
  return { path, kinds, why };
}

/** The edges of the house. A new row is a decision: it says why the file cannot go through an older one. */
const EDGES: readonly Edge[] = [
  edge('runtime/clock.ts', ['timers'], 'the one door to the runtime’s timers'),
  edge('runtime/process-stat.ts', ['outside', 'sync'], 'reads /proc, which does not block'),
  edge('runtime/sweep.ts', ['outside', 'timers'], 'reads /proc; the supervisor sweeps with it, and has no kernel'),
  edge('operator/hub-request.ts', ['outside', 'sync'], 'looks whose the private socket of the hub is before it asks'),
  edge('chaos/_fault-servers.ts', ['outside'], 'starts fault servers'),
  edge('chaos/_load.ts', ['outside', 'timers'], 'a client of the sandbox, with its pace'),
  edge(
    'chaos/_sandbox.ts',
    ['outside', 'timers'],
    'starts a hub in a directory of its own, and looks at it again and again',
  ),
  edge('chaos/fault-server.ts', ['outside', 'timers', 'sync'], 'a program of its own, which is to misbehave'),
  edge('cli/servers-commands.ts', ['timers'], 'a command looks again until a server has settled, within its --timeout'),
  edge('cli/status-commands.ts', ['outside'], 'finds the private sockets of the hubs'),
  edge('config/config-file.ts', ['outside'], 'reads the configuration file'),
  edge(
    'config/file-access.ts',
    ['outside', 'sync'],
    'boot, the supervisor and the command line look at owners and modes, once',
  ),
  edge('config/look-at-file.ts', ['outside'], 'looks whether the configuration file has changed'),
  edge('config/write-atomically.ts', ['outside'], 'writes the configuration file whole or not at all'),
  edge('downstream/listener.ts', ['outside'], 'the HTTP server that clients reach'),
  edge('downstream/http-response.ts', ['outside'], 'the class of the responses that the HTTP server writes'),
  edge('downstream/guarded-http.ts', ['outside'], 'the classes of the server’s requests and responses'),
  edge('downstream/forward.ts', ['outside'], 'sends /api requests of owners to control'),
  edge('doctor/doctor.ts', ['outside'], 'writes a report into the data directory'),
  edge('doctor/inspection.ts', ['outside', 'timers'], 'short questions to a hub that may not answer, each bounded'),
  edge('doctor/processes.ts', ['outside', 'sync'], 'reads /proc, which does not block'),
  edge('bridge/request.ts', ['outside'], 'reaches a hub for a client that cannot'),
  edge('bridge/bridge.ts', ['outside', 'timers', 'sync'], 'reads a key file at boot; stays for the last answers'),
  edge('downstream/unreachable-clients.ts', ['outside'], 'reads the kernel’s table of connections'),
  edge('downstream/peer-workers.ts', ['outside'], 'hands a request on to a sibling hub’s socket'),
  edge('net/_ask-dns.ts', ['outside'], 'asks name servers under a deadline'),
  edge('net/unix-socket-request.ts', ['outside'], 'asks other processes of the hub over their private sockets'),
  edge('net/_connector.ts', ['outside'], 'opens TCP and TLS to servers'),
  edge('net/_http-pool.ts', ['timers'], 'uses an idle connection in another turn of the loop; not a wait'),
  edge('net/_name-files.ts', ['outside'], 'reads /etc/hosts and resolv.conf'),
  edge('net/authorities.ts', ['outside', 'sync'], 'TLS trust; reads an extra CA file at boot'),
  edge('relay/unix-socket.ts', ['outside'], 'sockets on which control listens'),
  edge('relay/_control-connection.ts', ['outside'], 'a worker’s end of a socket of control'),
  edge('relay/keys-server.ts', ['outside'], 'control’s end of the keys connection'),
  edge('relay/relay-server.ts', ['outside'], 'control’s end of the relay socket'),
  edge('relay/_stored-snapshots.ts', ['outside'], 'the last snapshots and keys on disk'),
  edge('seal/secret-file.ts', ['outside'], 'makes or reads the sealing secret at boot'),
  edge('store/_migrate.ts', ['outside'], 'backs the file up before a migration'),
  edge('store/_sqlite.ts', ['outside', 'sync'], 'SQLite is synchronous; control alone opens it'),
  edge(
    'telemetry/_sink-ends.ts',
    ['outside', 'sync'],
    'stdout, opened again without blocking; writes that return at once',
  ),
  edge('telemetry/sink.ts', ['timers'], 'the supervisor writes through it too, and it has no kernel'),
  edge('telemetry/stall-watcher.ts', ['outside'], 'starts the thread that watches the loop'),
  edge(
    'telemetry/stall-watcher-thread.ts',
    ['outside', 'timers', 'sync'],
    'a thread of its own: it must not depend on the loop that it watches',
  ),
  edge('admin/admin-server.ts', ['outside'], 'control’s private HTTP socket'),
  edge('process/compile-cache.ts', ['outside'], 'remembers beside the compiled code that it was saved'),
  edge('process/control-parts.ts', ['outside'], 'makes the data and run directories when no guard has'),
  edge('process/worker-limits.ts', ['outside'], 'reads how many descriptors this process may open'),
  edge('process/worker-process.ts', ['outside'], 'forgets the socket of the worker that it replaced'),
  edge('process/worker-sockets.ts', ['outside'], 'names its private sockets, and closes them to others'),
  edge('process/version.ts', ['outside', 'sync'], 'reads package.json once at boot'),
  edge(
    'supervisor/connection-dispatcher.ts',
    ['outside', 'timers', 'sync'],
    'the port; reads the limit of descriptors at boot; it has no kernel',
  ),
  edge('supervisor/host.ts', ['outside', 'sync'], 'lock and run directory at boot'),
  edge('supervisor/crash-reports.ts', ['outside', 'sync'], 'reads reports of earlier runs at boot, writes them later'),
  edge('supervisor/proc.ts', ['outside', 'sync'], 'reads /proc, which does not block'),
  edge('supervisor/supervisor.ts', ['outside', 'timers', 'sync'], 'the supervisor’s clock and budgets'),
  edge('supervisor/process-instance.ts', ['outside', 'timers'], 'starts and observes a process'),
  edge('supervisor/managed-process.ts', ['timers'], 'delays between restarts, and the time limit of a replacement'),
  edge('supervisor/systemd-notify.ts', ['outside'], 'systemd-notify, bounded'),
  edge('supervisor/process-probe.ts', ['outside', 'timers'], 'heartbeats and probes over the private sockets'),
  edge('upstream/single-session/session-files.ts', ['outside'], 'lists the files of these sessions'),
  edge(
    'upstream/single-session/session-memory.ts',
    ['outside'],
    'open sessions on disk, for the worker that follows a killed one',
  ),
  edge('upstream/transport/peer/forward.ts', ['outside'], 'reaches a sibling hub over its private socket'),
  edge('subprocess/prepare/command.ts', ['outside'], 'finds a program before it is spawned'),
  edge('subprocess/prepare/script-head.ts', ['outside'], 'reads the first line of a script before it is spawned'),
  edge('subprocess/spawn/group.ts', ['outside'], 'spawns stdio servers in their own process group'),
  edge('subprocess/install/install.ts', ['outside'], 'looks whether a package is installed'),
  edge('subprocess/spawn/launch.ts', ['outside'], 'finds a free port and waits for a launched server to listen'),
  edge('subprocess/proc/port-owner.ts', ['outside'], 'reads which user listens on a port'),
  edge('subprocess/proc/processes.ts', ['outside'], 'reads /proc for CPU time and descendants'),
];

const tree = readTree();

test('only the files of the table touch timers, the outside or blocking calls', () => {
  assert.deepEqual(unlistedUses(tree, EDGES), []);
});

test('every row of the table is in use and says why', () => {
  assert.deepEqual(idleEdges(tree, EDGES), []);
  assert.ok(EDGES.every(({ why }) => why.length > 10));
});

test('each kind of use is seen', () => {
  const bad: Readonly<Record<string, string>> = {
    'setTimeout(() => {}, 5);': 'timers',
    'globalThis.setInterval(f, 5);': 'timers',
    'const later = setImmediate;': 'timers',
    "import { setTimeout as sleep } from 'node:timers/promises';": 'timers',
    'fetchIt({ signal: AbortSignal.timeout(5) });': 'timers',
    "import { connect } from 'node:net';": 'outside',
    "import { isIP, connect } from 'node:net';": 'outside',
    "import * as fs from 'node:fs';": 'outside',
    "import undici from 'undici';": 'outside',
    "export { readFile } from 'node:fs/promises';": 'outside',
    "const { readFile } = await import('node:fs/promises');": 'outside',
    "await fetch('http://x');": 'outside',
    'const text = readFileSync(path);': 'sync',
    'child.execFileSync(x);': 'sync',
    'scryptSync(password);': 'sync',
  };
  for (const [text, kind] of Object.entries(bad)) {
    assert.deepEqual([...new Set(edgeUses(snippet(text)).map((use) => use.kind))], [kind], text);
  }
  const fine = [
    "import type { Socket } from 'node:net';",
    "import { isIP, type Socket } from 'node:net';",
    'socket.setTimeout(5);',
    '// setTimeout(() => {}, 5);',
    "const text = 'readFileSync(';",
    'cache.fetch(key);',
    'hkdfSync(hash);',
    'interface Timers { setTimeoutMs: number }',
  ];
  for (const text of fine) assert.deepEqual(edgeUses(snippet(text)), [], text);
});

test('a row that nobody uses is seen', () => {
  assert.deepEqual(idleEdges([snippet('', 'net/a.ts')], [edge('net/a.ts', ['outside'], 'because of reasons')]), [
    'net/a.ts outside',
  ]);
});

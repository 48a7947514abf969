/** Derives findings and advice from the doctor's observations. Pure; the most serious comes first. */
import type { Seen, SeenProcess } from './inspection.ts';

export interface Finding {
  /** `bad`: users are affected; `note`: for information. */
  readonly level: 'bad' | 'note';
  readonly says: string;
  readonly todo: string;
}

/** CPU use, in percent of one core, from which a process counts as stuck in a computation. */
const BUSY_PERCENT = 80;
const SLOW_MS = 500;
const NEARLY_FULL = 0.8;
const LITTLE_DISK_BYTES = 200 * 2 ** 20;
const WRITES = /tty|pipe_write|wait_woken/;

/** Returns the findings; empty when all is well. */
export function findingsOf(seen: Seen): Finding[] {
  if (seen.guard === undefined) return [nobody(seen), ...ofTakenPort(seen)];
  return [
    ...seen.processes.flatMap((one) => ofProcess(one)),
    ...missing(seen),
    ...seen.ports.flatMap((port) => ofPort(port, seen)),
    ...ofExposure(seen),
    ...ofServers(seen),
    ...ofCatalogs(seen),
    ...ofCeilings(seen),
    ...ofDisk(seen),
  ].sort((a, b) => Number(b.level === 'bad') - Number(a.level === 'bad'));
}

function nobody({ dataDir, dataDirFault, processes, evidence, isBlind }: Seen): Finding {
  const [other] = processes;
  if (!other && dataDirFault === 'EACCES')
    return bad(
      `The data directory ${dataDir} belongs to another user and is not readable.`,
      'Run the command as the user of the hub (`sudo -u <user> mcphub doctor`), or pass the pid of its supervisor.',
    );
  if (other) {
    const says =
      `pid ${other.pid} (${other.role}) is not a process of a hub; ` +
      `it is in state ${other.state}${other.sleepsIn ? `, sleeping in ${other.sleepsIn}` : ''}, ` +
      `${other.cpuPercent} % CPU.`;
    return { level: 'bad', says, todo: 'Pass the pid of the supervisor, or omit it; the data directory records it.' };
  }
  const last = evidence.at(-1);
  const before = last ? ` Last crash report: ${last.process} at ${last.at}: ${last.why}.` : '';
  return {
    level: 'bad',
    says: `No hub runs on the data directory ${dataDir}.${isBlind ? ' (This system does not show the processes of others.)' : ''}${before}`,
    todo:
      dataDirFault === 'ENOENT'
        ? 'The directory does not exist. Pass the data directory of your hub with --data-dir, or start a hub with `mcphub start`.'
        : 'Start one with `mcphub start`, or pass another directory with --data-dir.',
  };
}

function ofTakenPort({ portTakenBy: taken }: Seen): Finding[] {
  if (!taken) return [];
  const who = taken.pid === 0 ? taken.command : `${taken.command} (pid ${taken.pid})`;
  return [
    {
      level: 'note',
      says: `Port ${taken.port} is in use by ${who}; a hub cannot start there.`,
      todo: `Stop that process, or start the hub on another port: \`mcphub start --port <port>\`.`,
    },
  ];
}

function ofProcess(one: SeenProcess): Finding[] {
  const who = `${one.role} (pid ${one.pid})`;
  const isSupervisor = one.role === 'guard';
  const replaced = isSupervisor
    ? `Only a service manager such as systemd restarts the supervisor. \`kill -9 ${one.pid}\` ends it and all its processes; then start the hub again.`
    : 'The supervisor replaces it within 8 s; if it does not, check the supervisor.';
  if (one.state === 'T' || one.state === 't')
    return [
      bad(`${who} is stopped (SIGSTOP or a debugger).`, `\`kill -CONT ${one.pid}\`. ${isSupervisor ? '' : replaced}`),
    ];
  if (one.state === 'D')
    return [bad(`${who} is blocked in the kernel (${one.sleepsIn || 'disk or network file system'}).`, replaced)];
  if (one.state === 'Z') return [bad(`${who} has exited and was not reaped by its parent.`, replaced)];
  if (WRITES.test(one.sleepsIn))
    return [
      bad(
        `${who} is blocked in a write to a terminal or pipe that is not read (${one.sleepsIn}).`,
        `Resume the reader (Ctrl-Q, or leave the copy mode of tmux). ${replaced}`,
      ),
    ];
  if (!one.answer || !('why' in one.answer)) return [];
  if (one.cpuPercent >= BUSY_PERCENT)
    return [
      bad(
        `${who} does not answer and uses ${one.cpuPercent} % CPU: its event loop is blocked.`,
        `${replaced} A process that is only busy is not replaced for up to 15 s (heartbeatEndMs). The crash report will contain the blocking stack.`,
      ),
    ];
  return [bad(`${who} does not answer its private socket (${one.answer.why}).`, replaced)];
}

function missing({ processes, evidence }: Seen): Finding[] {
  const found: Finding[] = [];
  const last = evidence.at(-1);
  if (!processes.some(({ role }) => role.startsWith('hub-')))
    found.push(
      bad(
        `No worker is running${last ? `; ${last.process} exited at ${last.at}: ${last.why}` : ''}.`,
        'The supervisor starts one within 30 s. If workers keep exiting, the crash reports and the log state the cause.',
      ),
    );
  if (!processes.some(({ role }) => role === 'control'))
    found.push({
      level: 'note',
      says: 'The control process is not running: calls are unaffected, but keys, status and configuration changes are unavailable.',
      todo: 'The supervisor restarts it within 30 s.',
    });
  return found;
}

function ofPort({ port, queue, health }: Seen['ports'][number], { processes }: Seen): Finding[] {
  const waiting = queue > 0 ? ` ${queue} connections wait to be accepted by the supervisor.` : '';
  if ('why' in health) {
    const hubsAnswer = processes.some(({ role, answer }) => role.startsWith('hub-') && answer && 'ms' in answer);
    const todo = hubsAnswer
      ? 'The workers answer on their private sockets, so the fault is in the supervisor or in the handover of ' +
        'connections: send SIGUSR2 to the supervisor to replace the workers; if that does not help, ' +
        'end the supervisor with `kill -9` and start the hub again.'
      : 'No worker answers; see the table of processes.';
    return [bad(`GET /health on port ${port} gets no response (${health.why}).${waiting}`, todo)];
  }
  if (health.status !== 200)
    return [
      bad(
        `GET /health on port ${port} returns ${health.status}: ${health.text.slice(0, 120)}`,
        'The hub is starting, draining or shedding load; run the command again in 10 s.',
      ),
    ];
  return health.ms > SLOW_MS
    ? [
        {
          level: 'note',
          says: `GET /health took ${health.ms} ms.${waiting}`,
          todo: 'The machine or a worker is overloaded; see CPU below.',
        },
      ]
    : [];
}

/** Keys can be read on the network unless a proxy with TLS is in front; the hub knows about one by `trustedProxies`. */
function ofExposure({ ports, hubs }: Seen): Finding[] {
  if (hubs.some(({ counts }) => (counts?.trustedProxies ?? 0) > 0)) return [];
  return ports
    .filter(({ isOpen }) => isOpen)
    .map(({ port }) => ({
      level: 'note',
      says: `Port ${port} is open to other machines without TLS: keys travel unencrypted.`,
      todo: 'Put a proxy with TLS in front and its address into settings.trustedProxies, or listen on loopback (HOST=127.0.0.1).',
    }));
}

function ofServers({ hubs }: Seen): Finding[] {
  const down = new Map<string, string>();
  for (const { servers } of hubs)
    for (const { server, state, cause } of servers)
      if (!['ready', 'asleep', 'disabled', 'idle'].includes(state)) down.set(server, cause ?? state);
  return [...down].map(([server, cause]) => ({
    level: 'note',
    says: `Server ${server} is not ready: ${cause}`,
    todo: `Run \`mcphub servers logs ${server}\`, then \`mcphub servers restart ${server}\`.`,
  }));
}

function ofCatalogs({ hubs }: Seen): Finding[] {
  const sizes = new Map(
    hubs.flatMap(({ catalogsTooLarge = [] }) => catalogsTooLarge.map(({ server, bytes }) => [server, bytes] as const)),
  );
  return [...sizes].map(([server, bytes]) => ({
    level: 'note',
    says: `The lists of ${server} (${(bytes / 1e6).toFixed(1)} MB) do not fit in snapshotBytes: a worker that starts must fetch them from the server.`,
    todo: 'Raise snapshotBytes (MCPHUB_SNAPSHOT_BYTES), or reduce what the server lists.',
  }));
}

function ofCeilings({ hubs }: Seen): Finding[] {
  return hubs.flatMap(({ hub, ceilings }) =>
    ceilings
      .filter(({ size, max, name }) => size >= max * NEARLY_FULL && max > 1 && COUNTS.test(name))
      .map(({ name, size, max }) => ({
        level: 'note' as const,
        says: `${hub}: ${name} contains ${size} of at most ${max} entries.`,
        todo: 'docs/limits.md names the setting.',
      })),
  );
}

/** Containers that refuse requests when they are full; caches are full on purpose. */
const COUNTS = /^(admission\.calls|downstream\.connections|session\.(streams|sessions)|kernel\.waits|upstream\.lanes)/;

function ofDisk({ freeDiskBytes, dataDir }: Seen): Finding[] {
  if (freeDiskBytes === undefined || freeDiskBytes >= LITTLE_DISK_BYTES) return [];
  const mb = Math.round(freeDiskBytes / 2 ** 20);
  return [
    {
      level: 'note',
      says: `Only ${mb} MB are free on the file system of ${dataDir}.`,
      todo: 'Free disk space. On a full disk calls still work, but keys and names cannot be changed.',
    },
  ];
}

function bad(says: string, todo: string): Finding {
  return { level: 'bad', says, todo: todo.trim() };
}

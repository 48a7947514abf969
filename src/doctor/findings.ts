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
      `The data directory ${dataDir} belongs to somebody else: this user may not read it.`,
      'Ask as the user that runs the hub (`sudo -u <user> mcphub doctor`), or name its pid.',
    );
  if (other) {
    const says = `pid ${other.pid} (${other.role}) is no part of a hub; it is in state ${other.state}${other.sleepsIn ? `, asleep in ${other.sleepsIn}` : ''}, ${other.cpuPercent} % CPU.`;
    return { level: 'bad', says, todo: 'Name the supervisor, or leave the pid away: the data directory knows it.' };
  }
  const last = evidence.at(-1);
  const before = last ? ` The last that ended in trouble was ${last.process} at ${last.at}: ${last.why}.` : '';
  return {
    level: 'bad',
    says: `No hub runs on the data directory ${dataDir}.${isBlind ? ' (On this system processes cannot be seen from outside.)' : ''}${before}`,
    todo:
      dataDirFault === 'ENOENT'
        ? 'There is no such directory: name the one of your hub with --data-dir, or start one with `mcphub start`.'
        : 'Start it with `mcphub start`; name another directory with --data-dir.',
  };
}

function ofTakenPort({ portTakenBy: taken }: Seen): Finding[] {
  if (!taken) return [];
  const who = taken.pid === 0 ? taken.command : `${taken.command} (pid ${taken.pid})`;
  return [
    {
      level: 'note',
      says: `Port ${taken.port} is taken by ${who}: a hub could not start there.`,
      todo: `End it, or start the hub on another port: \`mcphub start --port <port>\`.`,
    },
  ];
}

function ofProcess(one: SeenProcess): Finding[] {
  const who = `${one.role} (pid ${one.pid})`;
  const isSupervisor = one.role === 'guard';
  const replaced = isSupervisor
    ? `Nobody replaces the supervisor but systemd: \`kill -9 ${one.pid}\` ends everything with it, then start it again.`
    : 'The supervisor replaces it within 8 s; if it does not, look at the supervisor.';
  if (one.state === 'T' || one.state === 't')
    return [
      bad(`${who} is stopped (SIGSTOP or a debugger).`, `\`kill -CONT ${one.pid}\`. ${isSupervisor ? '' : replaced}`),
    ];
  if (one.state === 'D')
    return [bad(`${who} is stuck in the kernel (${one.sleepsIn || 'disk or network file system'}).`, replaced)];
  if (one.state === 'Z') return [bad(`${who} has ended, and its parent has not noticed.`, replaced)];
  if (WRITES.test(one.sleepsIn))
    return [
      bad(
        `${who} is stuck in a write to a terminal or pipe that nobody reads (${one.sleepsIn}).`,
        `Continue the reader (^Q, or let tmux scroll on). ${replaced}`,
      ),
    ];
  if (!one.answer || !('why' in one.answer)) return [];
  if (one.cpuPercent >= BUSY_PERCENT)
    return [
      bad(
        `${who} does not answer and burns ${one.cpuPercent} % CPU: its loop is stalled.`,
        `${replaced} A process that is only busy is left alone for up to 15 s (heartbeatEndMs). The stack that holds the loop will be in the evidence.`,
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
        `There is no hub process${last ? `; ${last.process} ended at ${last.at}: ${last.why}` : ''}.`,
        'The supervisor starts the next one within 30 s. If they die again and again, the evidence and the log say of what.',
      ),
    );
  if (!processes.some(({ role }) => role === 'control'))
    found.push({
      level: 'note',
      says: 'Control is away: calls go on, but keys, status and edits do not.',
      todo: 'The supervisor starts it again within 30 s.',
    });
  return found;
}

function ofPort({ port, queue, health }: Seen['ports'][number], { processes }: Seen): Finding[] {
  const waiting = queue > 0 ? ` ${queue} connections wait in the kernel for the supervisor.` : '';
  if ('why' in health) {
    const hubsAnswer = processes.some(({ role, answer }) => role.startsWith('hub-') && answer && 'ms' in answer);
    const todo = hubsAnswer
      ? 'The hubs answer on their own sockets, so it is the supervisor or the hand-over: `kill -USR2` the supervisor to replace the hubs; if that changes nothing, `kill -9` the supervisor and start it again.'
      : 'See the processes: no hub answers.';
    return [bad(`GET /health on port ${port} gives nothing (${health.why}).${waiting}`, todo)];
  }
  if (health.status !== 200)
    return [
      bad(
        `GET /health on port ${port} says ${health.status}: ${health.text.slice(0, 120)}`,
        'It starts, drains or sheds load; look again in ten seconds.',
      ),
    ];
  return health.ms > SLOW_MS
    ? [
        {
          level: 'note',
          says: `GET /health took ${health.ms} ms.${waiting}`,
          todo: 'The machine or a hub is very busy: see CPU below.',
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
    todo: `\`mcphub servers logs ${server}\`, then \`mcphub servers restart ${server}\`.`,
  }));
}

function ofCatalogs({ hubs }: Seen): Finding[] {
  const sizes = new Map(
    hubs.flatMap(({ catalogsTooLarge = [] }) => catalogsTooLarge.map(({ server, bytes }) => [server, bytes] as const)),
  );
  return [...sizes].map(([server, bytes]) => ({
    level: 'note',
    says: `The lists of ${server} (${(bytes / 1e6).toFixed(1)} MB) do not fit in snapshotBytes: a worker that starts has to read them from the server.`,
    todo: 'Raise snapshotBytes (MCPHUB_SNAPSHOT_BYTES), or let the server list less.',
  }));
}

function ofCeilings({ hubs }: Seen): Finding[] {
  return hubs.flatMap(({ hub, ceilings }) =>
    ceilings
      .filter(({ size, max, name }) => size >= max * NEARLY_FULL && max > 1 && COUNTS.test(name))
      .map(({ name, size, max }) => ({
        level: 'note' as const,
        says: `${hub}: ${name} holds ${size} of ${max}.`,
        todo: 'docs/limits.md says which setting that is.',
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
      says: `${mb} MB are free where ${dataDir} lies.`,
      todo: 'Calls go on with a full disk; keys and names cannot be changed. Make room.',
    },
  ];
}

function bad(says: string, todo: string): Finding {
  return { level: 'bad', says, todo: todo.trim() };
}

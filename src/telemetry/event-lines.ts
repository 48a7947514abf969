/**
 * Defines the log line of every event. The event's name is the stable `event` field; the message is for people.
 * `log.ts` applies the level, `repeats.ts` limits repetition.
 * Guarantees: every event has a row (checked by the compiler); external texts are masked and cut; no row contains a
 * secret, because no event does.
 */
import { errorRow } from '../model/errors.ts';
import type { HubEvent } from '../model/events.ts';
import { withoutStop } from '../model/sentence.ts';
import { faultText, masked } from './mask.ts';

export type Level = 'debug' | 'info' | 'warn' | 'error';
export type Fields = Readonly<Record<string, unknown>>;
type FactType = HubEvent['type'];
type Of<T extends FactType> = Extract<HubEvent, { type: T }>;

interface Row<F> {
  readonly level: Level | ((fact: F) => Level);
  readonly msg: (fact: F) => string;
  readonly fields?: (fact: F) => Fields;
  /** Groups repeated events of the same kind; by default they are grouped by server, if any. */
  readonly same?: (fact: F) => string;
}

export interface RequestPipeline {
  readonly level: Level;
  readonly msg: string;
  readonly fields: Fields;
}

/** Most characters of the reason in the line of a call. */
const CALL_CHARS = 300;
const MiB = 1024 * 1024;
const mib = (bytes: number): string => `${Math.round(bytes / MiB)} MiB`;
const seconds = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
type OfKey = Of<'key-created' | 'key-revoked'>;
const keyFields = (f: OfKey): Fields => ({ user: f.user, key: f.keyName, key_prefix: f.keyPrefix });
const NO_SERVERS =
  '; no servers are configured: add them under mcpServers in the configuration file, which is read again when it changes';
const countsIn = ({ tools, prompts, resources }: Of<'server-listed'>): string =>
  `${tools} tools${prompts ? `, ${prompts} prompts` : ''}${resources ? `, ${resources} resources` : ''}`;

const ROWS: { readonly [T in FactType]: Row<Of<T>> } = {
  // process
  'process-started': {
    level: 'info',
    msg: (f) => `${f.role} started in ${seconds(f.ms)}`,
    fields: (f) => ({ pid: f.pid, duration_ms: Math.round(f.ms) }),
  },
  'process-stopped': {
    level: (f) => (f.stuck.length > 0 ? 'warn' : 'info'),
    msg: (f) =>
      `${f.role} stopped (${f.reason})${f.stuck.length > 0 ? `; did not stop in time: ${f.stuck.join(', ')}` : ''}`,
    fields: (f) => ({ reason: f.reason, duration_ms: Math.round(f.ms), stuck: f.stuck }),
  },
  'listening-started': { level: 'info', msg: (f) => `listening on ${f.where}`, fields: (f) => ({ where: f.where }) },
  'drain-started': {
    level: 'info',
    msg: (f) => `draining: ${f.calls} calls, ${f.streams} streams`,
    fields: (f) => ({ calls: f.calls, streams: f.streams }),
  },
  'loop-stalled': {
    level: 'error',
    msg: (f) => `the event loop was blocked for ${seconds(f.ms)}`,
    fields: (f) => ({ duration_ms: Math.round(f.ms), stack: masked(f.stack) }),
  },
  'memory-measured': {
    level: 'info',
    msg: (f) =>
      `memory ${mib(f.rssBytes)} ` +
      `(at most ${mib(f.peakRssBytes)}${f.slope === undefined ? '' : `, ${f.slope} MB/h`}), ` +
      `heap ${mib(f.heapBytes)}, loop delay p99 ${f.loopP99Ms} ms`,
    fields: (f) => ({
      rss_bytes: f.rssBytes,
      heap_bytes: f.heapBytes,
      external_bytes: f.externalBytes,
      loop_p99_ms: f.loopP99Ms,
      peak_rss_bytes: f.peakRssBytes,
      slope_mb_per_hour: f.slope,
    }),
  },
  'pressure-changed': {
    level: (f) => (f.level === 'calm' ? 'info' : f.level === 'high' ? 'warn' : 'error'),
    msg: (f) => (f.level === 'calm' ? 'resource pressure: normal' : `resource pressure: ${f.level} (${f.cause})`),
    fields: (f) => ({ pressure: f.level, cause: f.cause }),
  },
  'task-faulted': {
    level: 'error',
    msg: (f) => `${f.task} failed: ${faultText(f.fault).message}`,
    fields: (f) => ({ task: f.task, err: faultText(f.fault) }),
    same: (f) => f.task,
  },
  'task-stuck': {
    level: 'warn',
    msg: (f) => `${f.task} did not stop in time`,
    fields: (f) => ({ task: f.task }),
    same: (f) => f.task,
  },
  'wait-expired': {
    level: 'warn',
    msg: (f) => `timed out: ${f.label} of ${masked(f.owner)}`,
    fields: (f) => ({ label: f.label, owner: masked(f.owner) }),
    same: (f) => f.label,
  },
  'log-dropped': {
    level: 'warn',
    msg: (f) => `${f.lines} log lines were dropped because the reader of the log was too slow`,
    fields: (f) => ({ lines: f.lines }),
  },
  // clients
  'session-created': {
    level: 'info',
    msg: (f) => `session created ${f.session} for ${f.user} (${masked(f.client)})`,
    fields: (f) => ({
      session: f.session,
      user: f.user,
      client: masked(f.client),
      protocol: masked(f.version),
      path: masked(f.path),
    }),
  },
  'session-ended': {
    level: 'info',
    msg: (f) => `session ended ${f.session} (${f.reason})`,
    fields: (f) => ({ session: f.session, reason: f.reason }),
  },
  'stream-opened': { level: 'debug', msg: () => 'stream opened', fields: (f) => ({ session: f.session }) },
  'stream-closed': {
    level: 'debug',
    msg: (f) => `stream closed after ${seconds(f.ms)} (${f.reason})`,
    fields: (f) => ({ session: f.session, reason: f.reason, duration_ms: Math.round(f.ms) }),
  },
  'reader-cut': {
    level: 'info',
    msg: (f) => `closed the connection of a client that did not read its response; ${f.bytes} bytes unsent`,
    fields: (f) => ({ bytes: f.bytes }),
  },
  'clients-vanished': {
    level: 'info',
    msg: (f) => `closed ${f.connections} connections of unreachable clients`,
    fields: (f) => ({ connections: f.connections }),
  },
  'key-accepted': {
    level: 'info',
    msg: (f) => `key accepted: ${f.user}, ${f.keyName}`,
    fields: (f) => ({ user: f.user, key: f.keyName, key_prefix: f.keyPrefix }),
  },
  'key-refused': {
    level: 'debug',
    msg: (f) =>
      f.address === '' ? `${f.times} more keys refused: ${f.reason}` : `key refused: ${f.reason}, from ${f.address}`,
    fields: (f) => ({ code: f.reason, address: f.address || undefined, times: f.times }),
    same: (f) => f.reason,
  },
  'api-refused': {
    level: 'warn',
    msg: (f) => `a request on the ${f.socket} socket of the control process was refused: ${f.reason}`,
    fields: (f) => ({ code: f.reason, socket: f.socket }),
    same: (f) => `${f.socket} ${f.reason}`,
  },
  'call-answered': {
    level: (f) => levelOfCall(f.code),
    msg: messageOfCall,
    fields: (f) => ({
      req_id: f.requestId,
      method: masked(f.method),
      user: f.user,
      upstream: f.server,
      tool: f.tool === undefined ? undefined : masked(f.tool),
      duration_ms: Math.round(f.ms),
      bytes: f.bytes,
      outcome: f.outcome,
      code: f.code,
      reference: f.reference,
    }),
  },
  'request-refused': {
    level: (f) => (errorRow(f.code).level === 'debug' ? 'info' : errorRow(f.code).level),
    msg: (f) =>
      f.address === ''
        ? `${f.times} more requests refused: ${f.code}`
        : `request refused (${f.code}): ${masked(f.message)}`,
    fields: (f) => ({
      code: f.code,
      address: f.address || undefined,
      method: f.method || undefined,
      path: f.path === '' ? undefined : masked(f.path),
      client: f.client === '' ? undefined : masked(f.client),
      upstream: f.server,
      times: f.times,
    }),
    same: (f) => `${f.code} ${f.address}`,
  },
  // servers
  'server-phase-entered': {
    level: 'debug',
    msg: (f) => `${f.server}: ${f.phase}`,
    fields: (f) => ({ upstream: f.server, phase: f.phase }),
  },
  'server-became-ready': {
    level: 'info',
    msg: (f) => `${f.server} is ready after ${seconds(f.ms)}: ${f.tools} tools`,
    fields: (f) => ({
      upstream: f.server,
      tools: f.tools,
      duration_ms: Math.round(f.ms),
      server_version: masked(f.version),
    }),
  },
  'server-was-lost': {
    level: 'warn',
    msg: (f) =>
      `${f.server} disconnected${f.phase === '' ? '' : ` in phase ${f.phase}`}: ${withoutStop(masked(f.message))}; next attempt in ${seconds(f.retryMs)}`,
    fields: (f) => ({
      upstream: f.server,
      code: f.code,
      phase: f.phase,
      retry_ms: Math.round(f.retryMs),
      reference: f.reference,
    }),
  },
  'server-call-failed': {
    level: (f) => levelOfCall(f.code),
    msg: (f) =>
      `${f.server}: call${f.tool === undefined ? '' : ` of ${masked(f.tool)}`} failed (${f.code}, reference ${f.reference}): ${masked(f.message)}`,
    fields: (f) => ({
      upstream: f.server,
      tool: f.tool === undefined ? undefined : masked(f.tool),
      code: f.code,
      reference: f.reference,
      page: f.page === '' ? undefined : masked(f.page),
    }),
  },
  'server-fell-asleep': {
    level: 'info',
    msg: (f) => `${f.server} exited with code 0 while it was idle; the next call starts it`,
    fields: (f) => ({ upstream: f.server }),
  },
  'cancels-withheld': {
    level: 'warn',
    msg: (f) => `${f.server} exited twice within a second after a cancel; cancel notifications to it are disabled`,
    fields: (f) => ({ upstream: f.server }),
  },
  'server-stopped': {
    level: 'info',
    msg: (f) => `${f.server} stopped (${f.reason})`,
    fields: (f) => ({ upstream: f.server, reason: f.reason }),
  },
  'server-said': { level: 'debug', msg: (f) => masked(f.line), fields: (f) => ({ upstream: f.server }) },
  'server-listed': {
    level: (f) => (f.changed ? 'info' : 'debug'),
    msg: (f) =>
      `${f.server} lists ${countsIn(f)}${f.repaired.length > 0 ? `, repaired: ${masked(f.repaired.join(', '))}` : ''}`,
    fields: (f) => ({ upstream: f.server, tools: f.tools, changed: f.changed, repaired: f.repaired.length }),
  },
  'lists-unread': {
    level: (f) => (f.lists.some(({ isWanted }) => isWanted) ? 'warn' : 'info'),
    msg: (f) => {
      const lists = f.lists.map(({ kind, why, rows }) =>
        rows === undefined ? `${kind}s not read: ${why}` : `${kind}s not read completely (${rows} read): ${why}`,
      );
      const again = f.lists.some(({ isWanted }) => isWanted) ? '; retrying after 2, 5, 15 and 60 s' : '';
      return `${f.server}: ${masked(lists.join('; '))}${again}`;
    },
    fields: (f) => ({ upstream: f.server, lists: f.lists.map(({ kind }) => kind) }),
  },
  'question-refused': {
    level: 'warn',
    msg: (f) => `${f.server}: request to the client refused: ${masked(f.reason)}`,
    fields: (f) => ({ upstream: f.server, method: f.method }),
  },
  'resources-shadowed': {
    level: 'warn',
    msg: (f) =>
      `${f.server} lists ${f.count} resource URIs that another server listed first; they stay with that server: ${masked(f.addresses.join(', '))}`,
    fields: (f) => ({ upstream: f.server, count: f.count }),
  },
  'notifications-dropped': {
    level: 'warn',
    msg: (f) =>
      `${f.server} sends too many or too large notifications: ${f.count} dropped (serverNotificationsPerSecond, noticeBytes)`,
    fields: (f) => ({ upstream: f.server, count: f.count }),
  },
  'messages-invalid': {
    level: 'warn',
    msg: (f) =>
      `${f.server} sends messages that are not valid JSON-RPC: ${f.repaired} repaired, ${f.refused} refused; the last one: ${masked(f.reason)}`,
    fields: (f) => ({ upstream: f.server, repaired: f.repaired, refused: f.refused }),
  },
  'server-habit-learned': {
    level: 'info',
    msg: (f) => `${f.server} ${masked(f.note)}`,
    fields: (f) => ({ upstream: f.server }),
  },
  'server-silence-raised': {
    level: 'info',
    msg: (f) => `${f.server} responds slowly: its silence limit is now ${seconds(f.silenceMs)}`,
    fields: (f) => ({ upstream: f.server, silence_ms: f.silenceMs }),
  },
  'child-started': {
    level: 'debug',
    msg: (f) => `${f.server}: child ${f.pid} started`,
    fields: (f) => ({ upstream: f.server, pid: f.pid }),
  },
  'child-exited': {
    level: (f) => (f.code === 0 ? 'info' : 'warn'),
    msg: (f) => `${f.server}: child ${f.pid} exited (${f.signal ?? `code ${f.code}`})`,
    fields: (f) => ({
      upstream: f.server,
      pid: f.pid,
      exit_code: f.code,
      signal: f.signal,
      stderr: masked(f.stderrTail),
    }),
  },
  'children-swept': {
    level: 'warn',
    msg: (f) => `${f.pids.length} orphaned processes were killed`,
    fields: (f) => ({ pids: f.pids }),
  },
  'containers-ended': {
    level: 'warn',
    msg: (f) =>
      f.fault === undefined
        ? `${f.ids.length} containers of ${f.server} outlived their client and were removed`
        : `containers of ${f.server} may have outlived their client and could not be removed: ${masked(f.fault)}`,
    fields: (f) => ({ upstream: f.server, containers: f.ids }),
  },
  'breaker-opened': {
    level: 'warn',
    msg: (f) =>
      `circuit breaker open for ${f.server} after ${withoutStop(masked(f.cause))}; next probe in ${seconds(f.ms)}`,
    fields: (f) => ({ upstream: f.server, rest_ms: Math.round(f.ms) }),
  },
  'breaker-closed': {
    level: 'info',
    msg: (f) => `circuit breaker closed for ${f.server}`,
    fields: (f) => ({ upstream: f.server }),
  },
  // planes
  'snapshot-published': {
    level: 'debug',
    msg: (f) => `revision ${f.revision} published`,
    fields: (f) => ({ revision: f.revision, servers: f.servers, keys: f.keys }),
  },
  'keys-published': {
    level: 'info',
    msg: (f) => `keys revision ${f.keysRevision}: ${f.keys} keys`,
    fields: (f) => ({ keysRevision: f.keysRevision, keys: f.keys }),
  },
  'catalog-left-out': {
    level: 'warn',
    msg: (f) =>
      `${f.server}: its lists (${f.bytes} bytes) do not fit in snapshotBytes and are not shared with new workers; keys and configuration still are`,
    fields: (f) => ({ server: f.server, bytes: f.bytes }),
  },
  'access-ended': {
    level: 'info',
    msg: (f) => `${f.items} calls, streams and connections ended with their keys (keys revision ${f.keysRevision})`,
    fields: (f) => ({ items: f.items, keysRevision: f.keysRevision }),
  },
  'snapshot-swapped': {
    level: 'info',
    msg: (f) => `revision ${f.revision} from ${f.source}: ${f.servers} servers, ${f.keys} keys`,
    fields: (f) => ({ revision: f.revision, servers: f.servers, keys: f.keys, source: f.source }),
  },
  'control-lost': {
    level: 'warn',
    msg: (f) => `connection to the control process lost (${masked(f.reason)}); calls are unaffected`,
    fields: (f) => ({ reason: masked(f.reason) }),
  },
  'control-found': { level: 'info', msg: () => 'connection to the control process restored' },
  'facts-dropped': {
    level: 'warn',
    msg: (f) => `${f.count} events were not delivered to the control process`,
    fields: (f) => ({ count: f.count }),
  },
  'config-applied': {
    level: 'info',
    msg: (f) => `${f.file} applied: ${f.servers} servers, revision ${f.revision}${f.servers > 0 ? '' : NO_SERVERS}`,
    fields: (f) => ({ file: f.file, servers: f.servers, revision: f.revision }),
  },
  'restart-needed': {
    level: 'warn',
    msg: (f) => `configuration changed, restart needed for ${f.limits.join(', ')} (docs/limits.md says of what)`,
    fields: (f) => ({ limits: f.limits }),
  },
  'config-refused': {
    level: 'error',
    msg: (f) => `${f.file} refused: ${masked(f.errors.join('; '))}`,
    fields: (f) => ({ file: f.file, errors: f.errors.slice(0, 20).map(masked) }),
  },
  'config-hints-ended': {
    level: 'info',
    msg: (f) => `file watching unavailable in ${f.dir} (${f.reason}); the configuration file is polled every 2 s`,
    fields: (f) => ({ dir: f.dir, reason: f.reason }),
  },
  'first-key-kept': {
    level: 'info',
    msg: (f) => `the first key was written to ${f.file}`,
    fields: (f) => ({ file: f.file }),
  },
  'key-created': { level: 'info', msg: (f) => `key created: ${f.user}, ${f.keyName}`, fields: keyFields },
  'key-revoked': { level: 'info', msg: (f) => `key revoked: ${f.user}, ${f.keyName}`, fields: keyFields },
  'store-migrated': {
    level: 'info',
    msg: (f) => `store migrated from ${f.from} to ${f.to}; backup ${f.backup}`,
    fields: (f) => ({ from: f.from, to: f.to, backup: f.backup }),
  },
};

/** Returns the level of a refused or failed call, by its code in `errors.ts`; never silent. */
export function levelOfCall(code: Of<'call-answered'>['code']): Level {
  if (code === undefined) return 'info';
  const { level } = errorRow(code);
  return level === 'debug' ? 'info' : level;
}

export function messageOfCall(fact: Of<'call-answered'>): string {
  if (fact.method === 'tools/list' && fact.outcome === 'ok') return 'tools/list answered';
  if (fact.outcome === 'ok') return 'request completed';
  const why = fact.why === undefined ? '' : `: ${masked(fact.why.slice(0, CALL_CHARS))}`;
  return `request completed: ${fact.code ?? fact.outcome}${why}`;
}

function rowOf(fact: HubEvent): Row<HubEvent> {
  return ROWS[fact.type] as Row<HubEvent>;
}

export function levelOf(fact: HubEvent): Level {
  const { level } = rowOf(fact);
  return typeof level === 'function' ? level(fact) : level;
}

export function lineOf(fact: HubEvent): RequestPipeline {
  const row = rowOf(fact);
  return { level: levelOf(fact), msg: row.msg(fact), fields: row.fields?.(fact) ?? {} };
}

/** Returns a key that is equal for events that repeat each other: event and server, or what the row returns. */
export function sameness(fact: HubEvent): string {
  return `${fact.type} ${rowOf(fact).same?.(fact) ?? ('server' in fact ? fact.server : '')}`;
}

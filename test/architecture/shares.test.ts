/**
 * Every container with a limit is either filled by the hub itself, or has a share for each key, so that one key cannot
 * take what others need. A new container without a row here fails, and so does a row whose container is gone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../../src/config/limits.ts';
import { readTree, type SourceFile, snippet } from './_tree.ts';

/** `shared`: the setting that bounds one key. `own`: why no client can fill it at another's expense. */
type Row = { readonly shared: string } | { readonly own: string };

const PER_CALL = 'one entry for each admitted call, and admission bounds the calls of a key';
const PER_SERVER = 'filled by what one server or its calls do, and belongs to that server alone';
const BY_CONFIGURATION = 'one entry for each configured server, group or hub process';
const BY_OPERATOR = 'only the operator and the hub’s own processes reach it';
const CACHE = 'a cache: what is pushed out is made again, at a cost of microseconds';

const CONTAINERS: Readonly<Record<string, Row>> = {
  'admin.beats': { own: BY_OPERATOR },
  'admin.connections': { own: BY_OPERATOR },
  'admin.worker-connections': { own: BY_OPERATOR },
  'admission.calls': { shared: 'keyInFlight' },
  'admission.keys': {
    own: 'owners with a call inside are never pushed out; of others only a full token bucket is lost',
  },
  'auth.addresses': { own: 'what is pushed out is the count of wrong keys of an address, which starts anew' },
  'downstream.refusal-traces': {
    own: 'log lines that an address may still have; for one that is pushed out they start anew, below the limit of all',
  },
  'auth.headers': { own: CACHE },
  'auth.wrong-headers': { own: CACHE },
  'auth.used': { own: 'one entry for each key; keys are made by the operator' },
  'call.in-flight': { own: PER_CALL },
  'call.name-questions': { shared: 'nameQuestionsPerKey' },
  'call.parked': { shared: 'parkedPerKey' },
  'call.questions': { shared: 'questionsPerKey' },
  'call.pending-updates': { own: PER_SERVER },
  'call.update-paces': { own: BY_CONFIGURATION },
  'catalog.unions': { own: 'one entry for each set of groups that the operator has given to a key' },
  'control.hubs': { own: BY_CONFIGURATION },
  'control.listings': { own: BY_CONFIGURATION },
  'control.mark-bytes': { shared: 'preferencesBytesPerKey' },
  'control.marks-unkept': { shared: 'tombstonesPerKey' },
  'control.session-marks': { shared: 'tombstonesPerKey' },
  'control.unkept': { own: BY_CONFIGURATION },
  'downstream.beats': { own: BY_OPERATOR },
  'downstream.bodies': { shared: 'openBodiesPerKey' },
  'downstream.body-bytes': { shared: 'bodiesBytesPerKey' },
  'downstream.connections': {
    own: 'shares are kept by `downstream/connection-table.ts`: connectionsPerAddress and connectionsPerKey',
  },
  'downstream.forwards': { shared: 'adminRequestsPerKey' },
  'downstream.old-sse': { own: 'one entry for each open stream, and `downstream.streams` bounds those of a key' },
  'downstream.siblings': { shared: 'forwardedPerKey' },
  'downstream.streams': { shared: 'streamsPerKey' },
  'kernel.open-work': { own: 'one entry for each call, stream or connection, which all have shares of their own' },
  'downstream.waiting': { own: 'one request of each open connection; keys take turns' },
  'kernel.waits': { own: 'each wait belongs to a call, body, connection or server that is bounded elsewhere' },
  'net.names': { own: CACHE },
  'net.questions': { own: 'names of configured servers' },
  'net.decoding': { own: 'a part of it for each server, with all its connections (`net/egress.ts`)' },
  'net.sockets': { own: PER_SERVER },
  'net.waiting': { own: PER_SERVER },
  'process.probers': { own: 'what is pushed out is a balancer that a stop then does not wait for' },
  'relay.keys-workers': { own: BY_CONFIGURATION },
  'relay.facts': { own: 'events for the log of control; the loss of old ones is counted and reported' },
  'relay.hubs': { own: BY_CONFIGURATION },
  'relay.listings': { own: BY_CONFIGURATION },
  'relay.mark-outbox': { own: 'holds what `control.session-marks` has let in, as its shares allow' },
  'relay.marks': { shared: 'tombstonesPerKey' },
  'relay.unsent': { shared: 'tombstonesPerKey' },
  'relay.used': { own: 'one entry for each key; keys are made by the operator' },
  'session.notes': { shared: 'sessionsPerKey' },
  'session.parked': { shared: 'retainedStreamsPerKey' },
  'session.preferences-bytes': { shared: 'preferencesBytesPerKey' },
  'session.replay-bytes': { shared: 'replayBytesPerKey' },
  'session.sessions': { shared: 'sessionsPerKey' },
  'session.streams': { own: 'one entry for each open stream, and `downstream.streams` bounds those of a key' },
  'session.texts': { own: 'texts that sessions share; what is pushed out is held by its sessions' },
  'session.tombstones': { shared: 'tombstonesPerKey' },
  'session.tracks': { shared: 'resumableStreamsPerKey' },
  'store.requests': { own: BY_OPERATOR },
  'telemetry.failures': { own: 'texts for the operator; old ones are replaced by newer ones of any server' },
  'telemetry.figures': { own: BY_CONFIGURATION },
  'telemetry.last-facts': { own: 'the newest events, kept for crash reports only' },
  'telemetry.repeats': { own: 'kinds of log lines that repeat; one that is pushed out is written once more' },
  'upstream.forward.exchanges': { own: PER_SERVER },
  'upstream.http.buffered': { own: PER_SERVER },
  'upstream.sse.buffered': { own: PER_SERVER },
  'upstream.http.exchanges': { own: PER_SERVER },
  'upstream.http.outbox': { own: PER_SERVER },
  'upstream.in-flight': { own: `${PER_SERVER}; keys take turns at its queue` },
  'upstream.install-queue': { own: BY_CONFIGURATION },
  'upstream.installed': { own: BY_CONFIGURATION },
  'upstream.installs': { own: BY_CONFIGURATION },
  'upstream.key-deaths': { own: `${PER_SERVER}; an entry a key, the oldest is forgotten` },
  'upstream.lane-rests': { own: `${PER_SERVER}; an entry a key, the oldest is forgotten` },
  'upstream.lanes': { shared: 'lanesPerKey' },
  'upstream.questions': { own: PER_SERVER },
  'upstream.servers': { own: BY_CONFIGURATION },
  'upstream.sse.posts': { own: PER_SERVER },
};

interface Construction {
  readonly where: string;
  readonly name: string;
  readonly kind: string;
}

const CONSTRUCTION = /\bnew\s+(Capped\w+|FairMap|FairCount|RequestTable)\b/g;
const NAME = /['`]([a-z]+(?:[.-][a-z]+)+)/;
/** From a construction to its name. */
const REACH = 300;

function constructionsIn(file: SourceFile): Construction[] {
  return [...file.code.matchAll(CONSTRUCTION)].map((match) => {
    const name = NAME.exec(file.code.slice(match.index, match.index + REACH))?.[1] ?? '';
    const line = file.code.slice(0, match.index).split('\n').length;
    return { where: `${file.path}:${line}`, name, kind: match[1] ?? '' };
  });
}

/** What is wrong with these containers, given what the table says of them. */
function wrongIn(found: readonly Construction[], table: Readonly<Record<string, Row>>): string[] {
  return found.flatMap(({ where, name, kind }) => {
    const row = Object.hasOwn(table, name) ? table[name] : undefined;
    if (name === '') return [`${where} a container whose name is not written beside it`];
    if (!row) return [`${where} ${name} has no row: does each key have a share of it?`];
    if ('own' in row) return [];
    // Admission counts its keys itself.
    const isFair = kind.startsWith('Fair') || name === 'admission.calls';
    if (!isFair) return [`${where} ${name} is shared, and ${kind} counts no owners`];
    return Object.hasOwn(LIMITS, row.shared) ? [] : [`${where} ${name}: there is no limit ${row.shared}`];
  });
}

const found = readTree().flatMap(constructionsIn);

test('every container with a limit has a share for each key, or a reason why it needs none', () => {
  assert.deepEqual(wrongIn(found, CONTAINERS), []);
});

test('every row names a container that exists', () => {
  const names = new Set(found.map(({ name }) => name));
  assert.deepEqual(
    Object.keys(CONTAINERS).filter((name) => !names.has(name)),
    [],
  );
});

test('a container without a share is seen', () => {
  const table: Readonly<Record<string, Row>> = {
    'a.shared': { shared: 'lanesPerKey' },
    'a.none': { shared: 'noLimit' },
    'a.own': { own: 'x' },
  };
  const judge = (text: string) => wrongIn(constructionsIn(snippet(text)), table).length;
  for (const bad of [
    "new CappedMap('a.new', 1, 'refuse', ceilings);",
    "new CappedCount('a.shared', 1, 'refuse', ceilings);",
    "new FairCount('a.none', 1, 1, 'refuse', ceilings);",
    "new CappedMap<string, 'x'>(name, 1, 'refuse', ceilings);",
  ])
    assert.equal(judge(bad), 1, bad);
  for (const fine of [
    "new FairMap<string, () => void>(\n  'a.shared', bounds, 'refuse', ceilings);",
    "new CappedMap<string, 'done' | 'doubted'>('a.own', 1, 'refuse', ceilings);",
    "// new CappedMap('a.new')",
  ])
    assert.equal(judge(fine), 0, fine);
});

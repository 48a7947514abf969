/**
 * The line of a call with its real rooms on a frozen clock, and a fleet that a test plays: what it was asked, and what
 * it answers.
 */
import { Admission } from '../../src/admission/gate.ts';
import { KeyAuthenticator } from '../../src/auth/key-authenticator.ts';
import type { Incoming, Reply, RequestContext } from '../../src/call/call.ts';
import { LateNames } from '../../src/call/late-names.ts';
import { RequestPipeline } from '../../src/call/pipeline.ts';
import { createQuestions } from '../../src/call/questions.ts';
import { Catalog } from '../../src/catalog/catalog.ts';
import { type Limits, limitsFrom } from '../../src/config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../../src/model/outcome.ts';
import type { RawListing, Snapshot, SnapshotHolder } from '../../src/model/snapshot.ts';
import { SILENT_BACK_CHANNEL } from '../../src/protocol/back-channel.ts';
import type { Envelope } from '../../src/protocol/message.ts';
import { scanEnvelope } from '../../src/protocol/scan.ts';
import { createKeyRing } from '../../src/seal/key-ring.ts';
import { SessionPreferences } from '../../src/session/preferences.ts';
import { type Session, Sessions } from '../../src/session/sessions.ts';
import type { UpstreamCall, UpstreamReply } from '../../src/upstream/call.ts';
import type { ServerRegistry } from '../../src/upstream/registry.ts';
import { startBudget } from '../../src/upstream/start-budget.ts';
import type { ServerStatus } from '../../src/upstream/status.ts';
import { bytesOf, groupSpec, listingOf, listingWith, serverSpec, worldOf } from './catalog-worlds.ts';
import { type FrozenRuntime, frozenRuntime } from './frozen-runtime.ts';
import { holderOf, keyRecord, secretOf } from './small-worlds.ts';

export const ENOUGH = { maxDepth: 64, maxIdBytes: 256, strict: true } as const;

const READY = { state: 'ready', tools: 2, prompts: 1, resources: 1, templates: 1, restarts: 0 } as const;

export interface ClientQuestions {
  readonly server: string;
  readonly call: UpstreamCall;
}

export class PipelineRig {
  readonly frozen: FrozenRuntime = frozenRuntime();
  readonly limits: Limits;
  readonly snapshots: SnapshotHolder;
  readonly sessions: Sessions;
  readonly admission: Admission;
  readonly catalog: Catalog;
  readonly pipeline: RequestPipeline;
  readonly asked: ClientQuestions[] = []; // bounded by: one test
  /** What the fleet answers; may throw. */
  reply: (server: string, call: UpstreamCall) => Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> = () => ({
    kind: 'result',
    json: Buffer.from('{"content":[]}'),
  });
  /** Servers whose lists have been read. */
  readonly read = new Set<string>(); // bounded by: one test
  /** By slug; a server that is not here is ready with 2 tools. */
  readonly statuses = new Map<string, Partial<ServerStatus>>(); // bounded by: one test
  /** Whether a server that was never listed is ready; may wait. */
  whenReady: ServerRegistry['whenReady'] = () => undefined;

  /** `workers`: sockets of other workers, which may know more names. */
  constructor(more: { limits?: Partial<Limits>; snapshot?: Partial<Snapshot>; workers?: readonly string[] } = {}) {
    const { runtime } = this.frozen;
    const { workers } = more;
    this.limits = { ...limitsFrom({}), ...more.limits };
    const snapshot = worldOf(
      [serverSpec('git'), serverSpec('files', { tools: {} })],
      [listingOf('git', ['log', 'show']), listingOf('files', ['read', 'write'])],
      [groupSpec('dev', ['git']), groupSpec('open', ['git'], { access: 'anonymous' })],
    );
    const keys = [keyRecord('a'), keyRecord('b'), keyRecord('c', { groups: ['dev'] })];
    this.snapshots = holderOf({ ...snapshot, keys, ...more.snapshot });
    const seals = createKeyRing([Buffer.alloc(32, 7)]);
    this.sessions = new Sessions({ runtime, limits: this.limits, keyRing: seals });
    this.admission = new Admission({ runtime, limits: this.limits });
    this.catalog = new Catalog({ runtime, limits: this.limits });
    this.catalog.rebuild(this.snapshots.current);
    this.pipeline = new RequestPipeline({
      runtime,
      limits: this.limits,
      snapshots: this.snapshots,
      keys: new KeyAuthenticator({ runtime, limits: this.limits, snapshots: this.snapshots }),
      sessions: this.sessions,
      admission: this.admission,
      catalog: this.catalog,
      registry: this.#registry(),
      preferences: new SessionPreferences({ runtime, limits: this.limits }),
      lateNames:
        workers && new LateNames({ ...{ runtime, limits: this.limits, catalog: this.catalog }, others: () => workers }),
      questions: createQuestions({ runtime, limits: this.limits, slot: 1 }),
      ...{ seals, slot: 1 },
      version: '9.9.9',
      requestIdPrefix: 'r-',
    });
  }

  #registry(): ServerRegistry {
    const played: Pick<ServerRegistry, 'call' | 'status' | 'rawListing' | 'startBudget' | 'whenReady'> = {
      startBudget: () => startBudget(undefined, undefined, { runtime: this.frozen.runtime, limits: this.limits }),
      call: (server, call) => {
        this.asked.push({ server, call });
        return this.reply(server, call);
      },
      status: (server) => ({ ...READY, server, ...this.statuses.get(server) }) as ServerStatus,
      whenReady: (server, deadline, owner) => this.whenReady(server, deadline, owner),
      rawListing: (server) => (this.read.has(server) ? ({} as RawListing) : undefined),
    };
    return played as ServerRegistry;
  }

  context(more: Partial<RequestContext> & { key?: string } = {}): RequestContext {
    const { key = 'a', ...rest } = more;
    return {
      local: false,
      authorization: key === '' ? undefined : `Bearer ${secretOf(key)}`,
      address: '10.0.0.1',
      visitor: { loopback: false, proxied: false },
      target: { kind: 'all' },
      sessionId: undefined,
      ...rest,
    };
  }

  incoming(message: object | string, more: Partial<Incoming> & { visitor?: RequestContext } = {}): Incoming {
    const { visitor = this.context(), ...rest } = more;
    return { envelope: envelopeOf(message), context: visitor, back: SILENT_BACK_CHANNEL, onGone: () => {}, ...rest };
  }

  /** One request with `id` 1 and its answer. */
  async ask(method: string, params?: unknown, visitor = this.context()): Promise<Outcome<Reply>> {
    return this.pipeline.answer(this.incoming({ jsonrpc: '2.0', id: 1, method, params }, { visitor }));
  }

  async open(key = 'a'): Promise<Session> {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } };
    const reply = await this.ask('initialize', params, this.context({ key }));
    if (isRefusal(reply) || reply.kind !== 'result' || !reply.session) throw new Error('initialize was refused');
    return reply.session;
  }
}

/** Servers with prompts, resources and a template; `files` has one URI that `git` has too, and completes nothing. */
export function richRig(): PipelineRig {
  const row = (member: string, value: string) => bytesOf({ [member]: value, name: member === 'uri' ? 'n' : 't' });
  const git = listingWith('git', [{ name: 'log', inputSchema: { type: 'object' } }], {
    prompts: [bytesOf({ name: 'review' })],
    resources: [row('uri', 'git://head')],
    templates: [row('uriTemplate', 'git://{commit}')],
    declared: ['tools', 'prompts', 'resources', 'completions'],
  });
  const files = listingWith('files', [], {
    resources: [row('uri', 'files://x'), row('uri', 'git://head')],
    declared: ['resources'],
  });
  const snapshot = worldOf([serverSpec('git'), serverSpec('files')], [git, files], [groupSpec('dev', ['git'])]);
  return new PipelineRig({ snapshot });
}

export function envelopeOf(message: object | string): Envelope {
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  const envelope = scanEnvelope(Buffer.from(text), ENOUGH);
  if (envelope instanceof Refusal) throw new Error(`${envelope.message}: ${text}`);
  return envelope;
}

/** The code of a refusal, or the JSON of a reply. */
// biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
export function shown(outcome: Outcome<Reply>): any {
  if (isRefusal(outcome)) return outcome.code;
  if (outcome.kind === 'accepted') return 'accepted';
  const { head = '', tail = '' } = (outcome.kind === 'result' && outcome.around) || {};
  return JSON.parse(`${head}${outcome.json}${tail}`);
}

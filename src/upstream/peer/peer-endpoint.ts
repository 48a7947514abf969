/**
 * Serves other workers the servers that run in this one: POST /peer/<slug> on the private socket, one JSON-RPC request
 * each. The mode of the socket's directory protects it.
 * Guarantees: it behaves like a Streamable HTTP server without sessions; a call takes the same path as one of this
 * worker's clients; ids and progress tokens come back unchanged; a disconnect cancels the call, at the server too.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Limits } from '../../config/limits.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { initializeResult, readInitialize } from '../../protocol/era-2025/initialize.ts';
import type { CallParams, Envelope, Progress } from '../../protocol/message.ts';
import { scanCallParams, scanEnvelope, scanProgress } from '../../protocol/scan.ts';
import { callParamsFor } from '../../protocol/write.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { SHARE_HEADER, type UpstreamReply, WORKER_HEADER } from '../call.ts';
import { capabilitiesOf } from '../link/raw-listing.ts';
import type { ServerRegistry } from '../registry.ts';
import { listStart } from '../unread-notes.ts';
import type { WorkerHandover } from '../worker-handover.ts';
import { readPeerBody } from './peer-body.ts';
import { PeerReply } from './peer-reply.ts';

export interface PeerEndpointParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly registry: Pick<ServerRegistry, 'call' | 'whenReady' | 'status' | 'rawListing' | 'startBudget'>;
  /** Id of this worker. */
  readonly slot: number;
  readonly handover: Pick<WorkerHandover, 'countForwarded'>;
}

const EMPTY = Buffer.from('{}');
const PREFIX = '/peer/';
/** Part of a worker's handshake time for which it waits for the first list, so that the answer comes in time. */
const SHARE = 0.8;
/** The share of a call when the other worker names none. */
const NO_SHARE = 'peer';

export function createPeerEndpoint(
  parts: PeerEndpointParts,
): (request: IncomingMessage, response: ServerResponse) => void {
  const { runtime } = parts;
  return (request, response) => {
    const slug = (request.url ?? '').slice(PREFIX.length).replace(/\?.*/s, '');
    const reply = new PeerReply(runtime, parts.limits, response, slug);
    if (request.method !== 'POST') {
      reply.status(405);
      return;
    }
    runtime.scope.run(`peer ${slug}`, async () => {
      try {
        await serve(parts, slug, request, reply);
      } catch (fault) {
        runtime.bus.publish({ type: 'task-faulted', task: `peer ${slug}`, fault });
        reply.refuse(new Refusal('internal', undefined, { server: slug }));
      }
    });
  };
}

async function serve(
  parts: PeerEndpointParts,
  slug: string,
  request: IncomingMessage,
  reply: PeerReply,
): Promise<void> {
  const { limits, runtime } = parts;
  const body = await readPeerBody(request, runtime, limits);
  if (isRefusal(body)) {
    reply.status(body.code === 'body-too-large' ? 413 : 408);
    return;
  }
  // The other worker has checked it.
  const envelope = scanEnvelope(body, { maxDepth: limits.bodyDepth + 2, maxIdBytes: limits.idBytes, strict: false });
  if (isRefusal(envelope)) {
    reply.status(400);
    return;
  }
  if (envelope.kind !== 'request') {
    reply.status(202);
    return;
  }
  reply.idRaw = envelope.bytes.subarray(envelope.id.at, envelope.id.end);
  const answer = await answerTo(parts, slug, envelope, {
    reply,
    share: shareIn(request),
    worker: Number(request.headers[WORKER_HEADER]),
  });
  if (isRefusal(answer)) reply.refuse(answer);
  else reply.answer(answer);
}

interface PeerCall {
  readonly reply: PeerReply;
  /** The key for which the other worker calls. */
  readonly share: string;
  /** Id of that worker; NaN for older versions. */
  readonly worker: number;
}

/** Returns the key for which another worker calls. */
function shareIn({ headers }: IncomingMessage): string {
  const text = headers[SHARE_HEADER];
  return typeof text === 'string' && text !== '' ? decodeURIComponent(text) : NO_SHARE;
}

function answerTo(
  parts: PeerEndpointParts,
  slug: string,
  envelope: Envelope,
  from: PeerCall,
): Outcome<UpstreamReply> | Promise<Outcome<UpstreamReply>> {
  switch (envelope.method) {
    case 'initialize':
      return hello(parts, slug, envelope);
    case 'ping':
      return ping(parts, slug);
    case 'tools/list':
      return list(parts, slug, 'tools', 'tools');
    case 'prompts/list':
      return list(parts, slug, 'prompts', 'prompts');
    case 'resources/list':
      return list(parts, slug, 'resources', 'resources');
    case 'resources/templates/list':
      return list(parts, slug, 'templates', 'resourceTemplates');
    default:
      return passOn(parts, slug, envelope, from);
  }
}

async function hello(parts: PeerEndpointParts, slug: string, envelope: Envelope): Promise<Outcome<UpstreamReply>> {
  const { runtime, limits, registry } = parts;
  const asked = readInitialize(envelope.bytes.subarray(envelope.params.at, envelope.params.end));
  if (isRefusal(asked)) return asked;
  if (!registry.status(slug)) return missing(slug);
  if (!registry.rawListing(slug)) {
    using deadline = runtime.deadline(limits.handshakeMs * SHARE);
    await registry.whenReady(slug, deadline, `peer ${slug}`);
  }
  const status = registry.status(slug);
  return result(
    initializeResult({
      version: asked.version,
      capabilities: capabilitiesOf(registry.rawListing(slug)?.declared ?? ['tools']),
      instructions: registry.rawListing(slug)?.instructions ?? '',
      serverName: status?.serverInfo ?? status?.name ?? slug,
      serverVersion: '',
    }),
  );
}

function ping({ registry }: PeerEndpointParts, slug: string): Outcome<UpstreamReply> {
  const status = registry.status(slug);
  if (!status) return missing(slug);
  if (status.state === 'ready' || status.state === 'asleep') return result(EMPTY);
  return new Refusal(status.state === 'connecting' ? 'server-starting' : 'server-down', status.cause, {
    server: slug,
    ...(status.phase ? { phase: status.phase } : {}),
    ...(status.retryMs === undefined ? {} : { retryAfterMs: status.retryMs }),
  });
}

function list(
  parts: PeerEndpointParts,
  slug: string,
  kind: 'tools' | 'prompts' | 'resources' | 'templates',
  member: string,
): Outcome<UpstreamReply> {
  const listing = parts.registry.rawListing(slug);
  const rows = listing?.[kind];
  const unread = listing?.unread.find((one) => `${one.kind}s` === kind);
  if (!rows && unread) return result(Buffer.from(`${listStart(unread)}"${member}":null}`));
  if (!rows) {
    const why = ping(parts, slug);
    return isRefusal(why) ? why : new Refusal('server-starting', undefined, { server: slug, phase: 'list' });
  }
  const pieces: Buffer[] = [Buffer.from(`${listStart(unread)}"${member}":[`)]; // bounded by: serverTools
  for (const [at, row] of rows.entries()) pieces.push(...(at === 0 ? [row] : [COMMA, row]));
  pieces.push(Buffer.from(']}'));
  return result(Buffer.concat(pieces));
}
const COMMA = Buffer.from(',');
const NO_PARAMS = Buffer.from('{}');

/** Passes any other method to the server unchanged, except for the progress token. */
async function passOn(
  parts: PeerEndpointParts,
  slug: string,
  envelope: Envelope,
  { reply, share, worker }: PeerCall,
): Promise<Outcome<UpstreamReply>> {
  const { registry, slot, handover } = parts;
  const { bytes, params, method } = envelope;
  const call: Outcome<Progress & Partial<CallParams>> =
    method === 'tools/call' ? scanCallParams(envelope) : scanProgress(envelope);
  if (isRefusal(call)) return call;
  const { progressToken } = call;
  using budget = registry.startBudget(slug, call.name);
  // A worker with the same id is the replacement of this one.
  using _forwarded = worker === slot ? handover.countForwarded(slug) : undefined;
  reply.onGone(() => budget.deadline.end('client-gone'));
  // Awaited here, because the budget and the count are disposed of when this function ends.
  return await registry.call(slug, {
    method,
    tool: call.name,
    params: (token) =>
      params.at < 0
        ? NO_PARAMS
        : callParamsFor(bytes, params, call, undefined, progressToken === undefined ? undefined : token),
    budget,
    back: { progressToken, notify: (name, text) => reply.notify(name, text) },
    fairKey: share,
    owner: `peer ${slug}`,
  });
}

function missing(slug: string): Refusal {
  return new Refusal('server-down', `There is no server ${slug} in this hub.`, { server: slug });
}

function result(json: Buffer): UpstreamReply {
  return { kind: 'result', json };
}

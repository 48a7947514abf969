/**
 * Opens a connection in either era: initialize and initialized, or server/discover. initialize comes first, because
 * nearly all servers support it and some exit at anything else (ADR 0015). `client-context.ts` says what is declared.
 * Guarantees: it ends by its deadline and does not wait for `initialized` to be sent; the era follows from answers
 * about the protocol only: silence and other errors are failures.
 */

import { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome } from '../../model/outcome.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import { type InitializeResult, initializeParams, readInitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025, LATEST_2025 } from '../../protocol/era-2025/versions.ts';
import { errorCode, readDiscoverResult } from '../../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { CallBudget } from '../../runtime/call-budget.ts';
import type { Deadline } from '../../runtime/deadline.ts';
import type { UpstreamReply } from '../call.ts';
import { mayHaveSession, withLostSession } from '../link/held-elsewhere.ts';
import type { Offer, OpeningMemory } from '../link/opening-memory.ts';
import type { Transport } from '../transport/transport.ts';
import type { Correlator } from './correlator.ts';

export interface HandshakeParts {
  readonly spec: ServerSpec;
  readonly correlator: Correlator;
  readonly transport: Transport;
  readonly version: string;
  /** Capabilities of the client side; 0 for none. */
  readonly capabilityBits: number;
  /** Another worker runs the server. */
  readonly isForward: boolean;
  /** Protocol version of an earlier connection; undefined when there was none. */
  readonly before: string | undefined;
  /** Called after a refusal that an existing session may cause: see `makeRoom` in `held-elsewhere.ts`. */
  readonly makeRoom: (deadline: Deadline) => Promise<boolean | InitializeResult>;
  /** Called with what was learned about this server. */
  readonly learned: (note: string) => void;
  /** How this server has to be initialized. */
  readonly opening: Pick<OpeningMemory, 'first' | 'offers' | 'refused' | 'accepted'>;
}

type Way = 'initialize' | 'server/discover';

/** The server was reached and does not know this opening: it may support the other era. */
class OtherEra extends HubError {
  /** It refused a version that it names as supported: a second attempt must succeed (specification, −32022). */
  isOffered = false;
  /** It does not know initialize, or answers like servers of the other era. */
  isModern = false;
  /** Protocol versions that it names. */
  dates: readonly string[] = []; // bounded by: the first 2,000 bytes of an error
}

/** Offered in this order, after the newest. */
const OLDER_DATES = ['2025-06-18', '2025-03-26', '2024-11-05'] as const;
const MOST_DATES = 4;
/** Method not found, and the errors of 2026-07-28. */
const MODERN_CODES: ReadonlySet<number> = new Set([-32601, -32020, -32021, -32022]);
const DATE = /\b20\d\d-\d\d-\d\d\b/g;

const UNSUPPORTED_VERSION = -32022;
const SUPPORTED_BYTES = 16 * 1024;

export async function shakeHands(parts: HandshakeParts, budget: CallBudget): Promise<InitializeResult> {
  let refused: OtherEra | undefined;
  for (const way of ways(parts)) {
    try {
      return way === 'initialize' ? await initialize(parts, budget) : await discover(parts, budget);
    } catch (fault) {
      // The first failure is the one about the expected protocol.
      if (!(fault instanceof OtherEra)) throw withLostSession(refused ?? fault);
      refused ??= fault;
      if (way === 'server/discover') parts.transport.negotiated(undefined);
    }
  }
  throw withLostSession(refused ?? new HubError('internal'));
}

function ways({ spec, before, isForward }: HandshakeParts): Way[] {
  const { era = 'auto', transport } = spec;
  if (era === '2025' || isForward || transport.kind === 'sse') return ['initialize'];
  if (era === '2026') return ['server/discover'];
  return before === VERSION_2026 ? ['server/discover', 'initialize'] : ['initialize', 'server/discover'];
}

/**
 * Offers the version that was learned or the newest, and others while they are refused. Reports the error of the first
 * refusal.
 */
async function initialize(parts: HandshakeParts, budget: CallBudget): Promise<InitializeResult> {
  const { opening, transport } = parts;
  const offers = [opening.first]; // bounded by: MOST_DATES, and one with the header
  let refused: unknown;
  let isRoomy = false;
  for (let at = 0; at < offers.length; at += 1) {
    const offer = offers[at] as Offer;
    transport.announce?.(offer.hasHeader ? offer.date : undefined);
    opening.offers(offer);
    try {
      const hello = await initializeWith(offer.date, parts, budget);
      opening.accepted(offer);
      transport.session?.known(hello);
      if (offer.hasHeader) parts.learned('requires the header MCP-Protocol-Version with initialize');
      if (offer.date !== LATEST_2025) parts.learned(`refuses protocol ${LATEST_2025}; ${hello.version} is spoken`);
      return hello;
    } catch (fault) {
      const room = refused === undefined && !isRoomy && mayBeFull(fault) && (await parts.makeRoom(budget.deadline));
      if (typeof room === 'object') {
        parts.learned('allows one session and does not end it on request: the session of an earlier worker is used');
        return room;
      }
      if (room) {
        isRoomy = true;
        at -= 1;
        continue;
      }
      refused ??= fault;
      const named = refusedDates(fault);
      if (named === undefined || budget.deadline.ended !== undefined) throw refused;
      opening.refused();
      if (at === 0) offers.push(...otherOffers(offer, [...named, parts.before ?? ''], fault));
    }
  }
  throw refused;
}

/** Returns what is offered after the first refusal: other versions, and after HTTP 400 the newest with the header. */
function otherOffers(first: Offer, named: readonly string[], fault: unknown): readonly Offer[] {
  const newest = first.date === LATEST_2025 && !first.hasHeader ? [] : [LATEST_2025];
  const dates = new Set([...newest, ...named, ...OLDER_DATES].filter((date) => isVersion2025(date)));
  if (!first.hasHeader) dates.delete(first.date);
  const offers = [...dates].slice(0, MOST_DATES - 1).map((date) => ({ date, hasHeader: false }));
  const isBadRequest = fault instanceof HubError && fault.detail.status === 400;
  return isBadRequest && !first.hasHeader ? [...offers, { date: LATEST_2025, hasHeader: true }] : offers;
}

/** Tells whether the server may already have a session: one of the other era would not know initialize. */
function mayBeFull(fault: unknown): boolean {
  if (!(fault instanceof HubError) || !mayHaveSession(fault)) return false;
  return !(fault instanceof OtherEra && fault.isModern);
}

/** Returns the versions that a refusal of initialize names; undefined when another version would not help. */
function refusedDates(fault: unknown): readonly string[] | undefined {
  if (fault instanceof OtherEra) return fault.isModern ? undefined : fault.dates;
  // Some servers return 500 for a version that they do not know.
  return fault instanceof HubError && fault.code === 'upstream-http' && fault.detail.status === 500 ? [] : undefined;
}

async function initializeWith(date: string, parts: HandshakeParts, budget: CallBudget): Promise<InitializeResult> {
  const { spec, correlator, transport } = parts;
  const server = spec.slug;
  const answer = await asked(parts, 'initialize', budget, () =>
    initializeParams({ name: 'mcphub', version: parts.version }, parts.capabilityBits, date),
  );
  const hello = readInitializeResult(answer);
  if (isRefusal(hello)) throw faultOf(server, `: ${hello.message}`);
  if (hello.version === VERSION_2026) {
    const other = otherEra(server, ` answered initialize in protocol ${VERSION_2026}.`);
    other.isModern = true;
    throw other;
  }
  if (!isVersion2025(hello.version))
    throw faultOf(server, ` speaks protocol ${hello.version.slice(0, 40)}, which the hub does not support.`);
  transport.negotiated(hello.version);
  correlator.notify('notifications/initialized', undefined);
  return hello;
}

async function discover(parts: HandshakeParts, budget: CallBudget): Promise<InitializeResult> {
  const { spec, transport } = parts;
  const server = spec.slug;
  // From here on the transport identifies the hub in each request.
  transport.negotiated(VERSION_2026);
  const ask = () => asked(parts, 'server/discover', budget, () => undefined);
  const answer = await ask().catch((fault: unknown) => {
    if (fault instanceof OtherEra && fault.isOffered) return ask();
    throw fault;
  });
  const hello = readDiscoverResult(answer);
  if (isRefusal(hello)) throw otherEra(server, `: ${hello.message}`);
  return hello;
}

async function asked(
  { spec, correlator }: HandshakeParts,
  method: Way,
  budget: CallBudget,
  params: () => Buffer | undefined,
): Promise<Buffer> {
  const server = spec.slug;
  const answer = await correlator.ask(
    {
      method,
      label: 'upstream-handshake',
      owner: server,
      budget,
      back: SILENT_BACK_CHANNEL,
    },
    params,
  );
  if (!isRefusal(answer)) return resultOf(server, method, answer);
  const { code, message, detail } = answer;
  const about = { message, detail: { server, phase: 'handshake', ...detail } };
  if (!isAboutProtocol(answer)) throw new HubError(code, about);
  const refused = new OtherEra(code, about);
  refused.isModern = [404, 405].includes(Number(detail.status));
  throw refused;
}

/** Tells whether an HTTP error may come from an unknown protocol; 401, 403, 408 and 429 have other reasons. */
function isAboutProtocol(answer: Outcome<UpstreamReply>): boolean {
  if (!isRefusal(answer) || answer.code !== 'upstream-http') return false;
  return [400, 404, 405, 406, 415, 422].includes(Number(answer.detail.status));
}

function resultOf(server: string, method: Way, { kind, json }: UpstreamReply): Buffer {
  if (kind !== 'error') return json;
  const refused = otherEra(server, ` refused ${method}: ${json.toString('utf8', 0, 300)}`);
  refused.isModern = MODERN_CODES.has(errorCode(json));
  refused.dates = json.toString('utf8', 0, 2000).match(DATE) ?? [];
  refused.isOffered = errorCode(json) === UNSUPPORTED_VERSION && supportedIn(json).includes(VERSION_2026);
  throw refused;
}

/** Returns the supported versions that the error of an unsupported version names; none when the error is too long. */
function supportedIn(json: Buffer): readonly unknown[] {
  if (json.length > SUPPORTED_BYTES) return [];
  const { data } = JSON.parse(json.toString('utf8')) as { readonly data?: { readonly supported?: unknown } };
  return Array.isArray(data?.supported) ? data.supported : [];
}

function otherEra(server: string, how: string): OtherEra {
  return new OtherEra('upstream-protocol', {
    message: `${server}${how}`,
    detail: { server, phase: 'handshake' },
  });
}

function faultOf(server: string, how: string): HubError {
  return new HubError('upstream-protocol', { message: `${server}${how}`, detail: { server, phase: 'handshake' } });
}

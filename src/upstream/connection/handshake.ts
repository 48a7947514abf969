/**
 * The opening of a connection, in either era: initialize and initialized, or server/discover.
 * Promises: ends by its deadline; the initialized notification is sent and never waited for; a server that speaks no date of ours is named; only
 * what a server answers decides its era: no answer, and an answer that is not about the protocol, is an outage and no verdict.
 * Why initialize first: it is what nearly all servers speak, a server that speaks both loses little, and some end when they are asked anything
 * before it (ADR 0015).
 * Does not: decide what is declared (`client-context.ts` says it).
 */

import { HubError } from '../../model/errors.ts';
import { isRefusal, type Outcome } from '../../model/outcome.ts';
import type { ServerSpec } from '../../model/snapshot.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import { type InitializeResult, initializeParams, readInitializeResult } from '../../protocol/era-2025/initialize.ts';
import { isVersion2025, LATEST_2025 } from '../../protocol/era-2025/versions.ts';
import { errorCode, readDiscoverResult } from '../../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
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
  /** The setting that gives the handshake more time. */
  readonly setting: string;
  /** What the client side can do; 0 = nothing. */
  readonly capabilityBits: number;
  /** Another hub speaks for the server. */
  readonly isForward: boolean;
  /** What was spoken with it before; undefined = nothing yet. */
  readonly before: string | undefined;
  /** After a refusal that may come from a session that is open: see `makeRoom` in `held-elsewhere.ts`. */
  readonly makeRoom: (deadline: Deadline) => Promise<boolean | InitializeResult>;
  /** Something about this server was found out. */
  readonly learned: (note: string) => void;
  /** How this server has to be initialized. */
  readonly opening: Pick<OpeningMemory, 'first' | 'offers' | 'refused' | 'accepted'>;
}

type Way = 'initialize' | 'server/discover';

/** The server was reached, and does not know this opening: the other may be its own. */
class OtherEra extends HubError {
  /** It refused the version that it says it speaks: asked once more it has to know (specification, −32022). */
  isOffered = false;
  /** It says that it does not know initialize, or speaks as servers of the other era do. */
  isModern = false;
  /** Dates that it names. */
  dates: readonly string[] = []; // bounded by: the first 2,000 bytes of an error
}

/** Offered one after the other, the newest of them all first. */
const OLDER_DATES = ['2025-06-18', '2025-03-26', '2024-11-05'] as const;
const MOST_DATES = 4;
/** Method not found, and the errors of 2026-07-28. */
const MODERN_CODES: ReadonlySet<number> = new Set([-32601, -32020, -32021, -32022]);
const DATE = /\b20\d\d-\d\d-\d\d\b/g;

const UNSUPPORTED_VERSION = -32022;
const SUPPORTED_BYTES = 16 * 1024;

export async function shakeHands(parts: HandshakeParts, deadline: Deadline): Promise<InitializeResult> {
  let refused: OtherEra | undefined;
  for (const way of ways(parts)) {
    try {
      return way === 'initialize' ? await initialize(parts, deadline) : await discover(parts, deadline);
    } catch (fault) {
      // The first one's words are about the protocol that was expected.
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

/** Offers the date that was learned or the newest, and others while they are refused. The error of the first refusal is the one reported. */
async function initialize(parts: HandshakeParts, deadline: Deadline): Promise<InitializeResult> {
  const { opening, transport } = parts;
  const offers = [opening.first]; // bounded by: MOST_DATES, and one with the header
  let refused: unknown;
  let isRoomy = false;
  for (let at = 0; at < offers.length; at += 1) {
    const offer = offers[at] as Offer;
    transport.announce?.(offer.hasHeader ? offer.date : undefined);
    opening.offers(offer);
    try {
      const hello = await initializeWith(offer.date, parts, deadline);
      opening.accepted(offer);
      transport.session?.known(hello);
      if (offer.hasHeader) parts.learned('wants the header MCP-Protocol-Version with initialize');
      if (offer.date !== LATEST_2025) parts.learned(`refuses protocol ${LATEST_2025}; ${hello.version} is spoken`);
      return hello;
    } catch (fault) {
      const room = refused === undefined && !isRoomy && mayBeFull(fault) && (await parts.makeRoom(deadline));
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
      if (named === undefined || deadline.ended !== undefined) throw refused;
      opening.refused();
      if (at === 0) offers.push(...otherOffers(offer, [...named, parts.before ?? ''], fault));
    }
  }
  throw refused;
}

/** What is offered after the first refusal: other dates, and where it was HTTP 400 the newest with the header. */
function otherOffers(first: Offer, named: readonly string[], fault: unknown): readonly Offer[] {
  const newest = first.date === LATEST_2025 && !first.hasHeader ? [] : [LATEST_2025];
  const dates = new Set([...newest, ...named, ...OLDER_DATES].filter((date) => isVersion2025(date)));
  if (!first.hasHeader) dates.delete(first.date);
  const offers = [...dates].slice(0, MOST_DATES - 1).map((date) => ({ date, hasHeader: false }));
  const isBadRequest = fault instanceof HubError && fault.detail.status === 400;
  return isBadRequest && !first.hasHeader ? [...offers, { date: LATEST_2025, hasHeader: true }] : offers;
}

/** A server of the other era does not know initialize; any other may have a session already. */
function mayBeFull(fault: unknown): boolean {
  if (!(fault instanceof HubError) || !mayHaveSession(fault)) return false;
  return !(fault instanceof OtherEra && fault.isModern);
}

/** Returns the dates that a refusal of initialize names; undefined = another date would not help. */
function refusedDates(fault: unknown): readonly string[] | undefined {
  if (fault instanceof OtherEra) return fault.isModern ? undefined : fault.dates;
  // Some servers fail over a date that they do not know.
  return fault instanceof HubError && fault.code === 'upstream-http' && fault.detail.status === 500 ? [] : undefined;
}

async function initializeWith(date: string, parts: HandshakeParts, deadline: Deadline): Promise<InitializeResult> {
  const { spec, correlator, transport } = parts;
  const server = spec.slug;
  const answer = await asked(parts, 'initialize', deadline, () =>
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
    throw faultOf(server, ` speaks protocol ${hello.version.slice(0, 40)}, which this hub does not.`);
  transport.negotiated(hello.version);
  correlator.notify('notifications/initialized', undefined);
  return hello;
}

async function discover(parts: HandshakeParts, deadline: Deadline): Promise<InitializeResult> {
  const { spec, transport } = parts;
  const server = spec.slug;
  // From here on the transport says with each request who we are.
  transport.negotiated(VERSION_2026);
  const ask = () => asked(parts, 'server/discover', deadline, () => undefined);
  const answer = await ask().catch((fault: unknown) => {
    if (fault instanceof OtherEra && fault.isOffered) return ask();
    throw fault;
  });
  const hello = readDiscoverResult(answer);
  if (isRefusal(hello)) throw otherEra(server, `: ${hello.message}`);
  return hello;
}

async function asked(
  { spec, correlator, setting }: HandshakeParts,
  method: Way,
  deadline: Deadline,
  params: () => Buffer | undefined,
): Promise<Buffer> {
  const server = spec.slug;
  const answer = await correlator.ask(
    {
      ...{ method, label: 'upstream-handshake', owner: server, deadline, setting },
      ...{ back: SILENT_BACK_CHANNEL, silence: undefined },
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

/** An HTTP error that a server gives to what it does not understand; 401, 403, 408 and 429 are about something else. */
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

/** What the error of an unsupported version says that the server supports; nothing where it says more than a list of versions takes. */
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

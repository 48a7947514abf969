/**
 * GET: the session's stream, and the resumption of a lost one (specification 2025-11-25, transports).
 * Guarantees: of several streams of a session the newest gets new events; a resumed one gets what it missed, once; a
 * call whose worker has exited gets an error; GET is 405 without a session and when nothing remains to be sent, which
 * stops clients that reconnect after every end.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../call/call.ts';
import type { RequestPipeline } from '../call/pipeline.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { primesStreams } from '../protocol/era-2025/versions.ts';
import { refusalFrame } from '../protocol/write.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { lostEventId, type ResumableStream, type ResumableStreams } from '../session/resumable-streams.ts';
import type { Session, Sessions } from '../session/sessions.ts';
import type { Authorized } from './authorized.ts';
import { headerValue } from './header-values.ts';
import { writeRefusal } from './http-answer.ts';
import type { PeerWorkers } from './peer-workers.ts';
import type { SessionAffinity } from './session-affinity.ts';
import type { SseStream } from './sse-stream.ts';
import type { Streams } from './streams.ts';

export interface GetStreamParts {
  readonly runtime: Runtime;
  readonly pipeline: RequestPipeline;
  readonly sessions: Sessions;
  readonly resumableStreams: ResumableStreams;
  readonly streams: Streams;
  readonly peers: PeerWorkers;
  readonly affinity: SessionAffinity;
}

/** A stream that is to be opened, and its client. */
interface Opening {
  readonly session: Session;
  readonly response: ServerResponse;
  readonly caller: Caller;
}

/** A stream that the client has lost, and the event after which it continues. */
interface Lost {
  readonly resumable: ResumableStream;
  readonly after: number;
  readonly lastEventId: string;
}

/** Sends an event id before any event, so that the client can return: some lose the id they came with. */
function prime(session: Session, stream: SseStream, eventId: string): void {
  if (primesStreams(session.version)) stream.prime(eventId);
}

/** Reasons after which the client may return to a stream. */
const MAY_RETURN: ReadonlySet<string> = new Set(['client-gone', 'slow-reader', 'too-old']);

export function createGetStream(
  parts: GetStreamParts,
): (request: IncomingMessage, response: ServerResponse, authorized: Authorized) => void {
  const { runtime, pipeline, sessions, resumableStreams, streams, peers, affinity } = parts;

  function openSse({ session, response, caller }: Opening, closed: (reason: string) => void) {
    const openedMs = runtime.clock.nowMs();
    const headers = { 'mcp-session-id': session.id };
    const stream = streams.open(response, { owner: session.owner, access: caller, headers }, (reason) => {
      closed(reason);
      const ms = Math.round(runtime.clock.nowMs() - openedMs);
      runtime.bus.publish({ type: 'stream-closed', session: session.shortId, reason, ms });
    });
    if (isRefusal(stream)) writeRefusal(response, stream);
    else runtime.bus.publish({ type: 'stream-opened', session: session.shortId });
    return stream;
  }

  /** Opens the stream for notifications. `known`: the one that the client has lost. */
  function stand(opening: Opening, known?: Lost): void {
    const { session, caller } = opening;
    let stream: ReturnType<typeof openSse>;
    const resumable: ResumableStream =
      known?.resumable ?? resumableStreams.open(session, undefined, caller, () => sessions.detach(session, resumable));
    stream = openSse(opening, (reason) => {
      resumable.detach(stream as SseStream);
      if (MAY_RETURN.has(reason)) sessions.retain(session, resumable);
    });
    if (isRefusal(stream)) {
      if (!known) resumable.close('too-many-streams');
      return;
    }
    sessions.attach(session, resumable);
    prime(session, stream, known?.lastEventId ?? resumable.firstId);
    resumable.attach(stream, known?.after ?? 0);
  }

  function goOn(opening: Opening, { resumable, after, lastEventId }: Lost): void {
    const { session } = opening;
    const stream = openSse(opening, () => {
      if (!isRefusal(stream)) resumable.detach(stream);
    });
    if (isRefusal(stream)) return;
    prime(session, stream, lastEventId);
    resumable.attach(stream, after);
  }

  /** Answers with an error instead of a stream that stays silent. */
  function reportLost(opening: Opening, idRaw: Buffer | undefined): void {
    if (!idRaw) return stand(opening);
    const stream = openSse(opening, () => {});
    if (isRefusal(stream)) return;
    stream.send(refusalFrame(idRaw, new Refusal('call-lost', undefined, { outcome: 'unknown' })), lostEventId(idRaw));
    stream.close('answered');
  }

  return function openStream(request, response, { context, caller }) {
    if (context.sessionId === undefined) {
      const why = 'GET needs a session: send initialize by POST first.';
      return writeRefusal(response, new Refusal('method-not-allowed', why));
    }
    const session = pipeline.findSession(context, caller);
    if (isRefusal(session) || session === undefined)
      return writeRefusal(response, session ?? new Refusal('session-unknown'));
    pipeline.dropUnseen(session, caller);
    const opening: Opening = { session, response, caller };
    const lastEventId = headerValue(request, 'last-event-id');
    if (isRefusal(lastEventId)) return writeRefusal(response, lastEventId);
    const standAtHome = (): void => {
      const here = () => stand(opening);
      if (!affinity.passesStream(request, response, opening, here)) here();
    };
    if (lastEventId === undefined) return standAtHome();
    const resumed = resumableStreams.resume(session.random, lastEventId);
    if (resumed.kind === 'none') return standAtHome();
    if (resumed.kind === 'lost') return reportLost(opening, resumed.idRaw);
    if (resumed.kind === 'finished')
      return writeRefusal(
        response,
        new Refusal('method-not-allowed', 'There are no events after this one: the call has ended.'),
      );
    if (resumed.kind === 'stream') {
      const lost: Lost = { resumable: resumed.stream, after: resumed.after, lastEventId };
      return resumed.isCall ? goOn(opening, lost) : stand(opening, lost);
    }
    peers.pass(request, response, {
      slot: resumed.slot,
      owner: session.owner,
      access: caller,
      body: undefined,
      away: () => reportLost(opening, resumed.idRaw),
    });
  };
}

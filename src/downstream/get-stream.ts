/**
 * GET: the session's standing stream, and the way back to a stream that was lost (`Last-Event-ID`).
 * Promises: a session may have several standing streams, of which the newest receives what is new; a resumed stream gets what it missed, once, and then what follows, and can be lost
 * and resumed again before it has said anything; a call whose hub is gone is answered with an error that says so, under its own id; without
 * a session GET is 405, and so it is when nothing is left to be said: clients that come back after every end stop at that.
 * Does not: keep events (`session/resumable-streams.ts`) or pace readers (`streams.ts`).
 * Source: specification 2025-11-25, transports; protocol.md §4 (200 or 405, nothing else).
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
import type { SseStream, Streams } from './streams.ts';

export interface GetStreamParts {
  readonly runtime: Runtime;
  readonly pipeline: RequestPipeline;
  readonly sessions: Sessions;
  readonly resumableStreams: ResumableStreams;
  readonly streams: Streams;
  readonly peers: PeerWorkers;
  readonly affinity: SessionAffinity;
}

/** A stream that is to be opened, and for whom. */
interface Opening {
  readonly session: Session;
  readonly response: ServerResponse;
  readonly caller: Caller;
}

/** A stream that the client has lost, and the event after which it goes on. */
interface Lost {
  readonly resumable: ResumableStream;
  readonly after: number;
  readonly lastEventId: string;
}

/** What a client needs to come back, before anything has been said: some forget the id they came with. */
function prime(session: Session, stream: SseStream, eventId: string): void {
  if (primesStreams(session.version)) stream.prime(eventId);
}

/** Ends of a stream after which its client may come back. */
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

  /** The stream for what nobody asked for. `known` = the one that the client has lost. */
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

  /** Told plainly instead of a stream that stays silent for ever. */
  function tellLost(opening: Opening, idRaw: Buffer | undefined): void {
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
    if (resumed.kind === 'lost') return tellLost(opening, resumed.idRaw);
    if (resumed.kind === 'finished')
      return writeRefusal(
        response,
        new Refusal('method-not-allowed', 'Nothing follows this event: the call was answered.'),
      );
    if (resumed.kind === 'stream') {
      const lost: Lost = { resumable: resumed.stream, after: resumed.after, lastEventId };
      return resumed.isCall ? goOn(opening, lost) : stand(opening, lost);
    }
    peers.pass(request, response, {
      ...{ slot: resumed.slot, owner: session.owner, access: caller },
      body: undefined,
      away: () => tellLost(opening, resumed.idRaw),
    });
  };
}

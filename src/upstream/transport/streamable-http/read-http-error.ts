/** Reads the body of an HTTP error: what failed, and the answers of the server that it contains. */
import type { HubError } from '../../../model/errors.ts';
import type { ResponseHeaders } from '../../../net/egress.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { errorIn } from '../http/answer-body.ts';
import { httpFault } from '../http/http-fault.ts';
import { isHarmlessTwice } from '../http/messages.ts';
import type { ExchangeHost, SentExchange } from './exchange-host.ts';

export interface HttpErrorAnswer {
  readonly status: number;
  readonly headers: ResponseHeaders;
  readonly body: Buffer;
}

export interface HttpError {
  /** How the request ends when none of the replies answers it. */
  readonly fault: HubError;
  /** JSON-RPC errors for the request, which are passed on unchanged. */
  readonly replies: readonly Envelope[];
  /** The server does not know the session. */
  readonly isSessionError: boolean;
}

/** The Retry-After of these counts for more than an error in the body that names no request. */
const UNAVAILABLE: ReadonlySet<number> = new Set([429, 503]);

/** `isOfCredentials`: the status is 401 or 403. */
export function readHttpError(
  host: Pick<ExchangeHost, 'runtime' | 'limits' | 'server' | 'asked'>,
  { frame, id }: Pick<SentExchange, 'frame' | 'id'>,
  answer: HttpErrorAnswer,
  isOfCredentials: boolean,
): HttpError {
  const fault = httpFault(host, { ...answer, asked: host.asked('POST') });
  const { replies, isSessionError } = errorIn(answer.body, answer.status, id, host.limits);
  // The hub's own request to a server that refuses its credentials has failed, whatever the body says.
  const isOurs = isOfCredentials && isHarmlessTwice(frame);
  return { fault, replies: UNAVAILABLE.has(answer.status) || isOurs ? [] : replies, isSessionError };
}

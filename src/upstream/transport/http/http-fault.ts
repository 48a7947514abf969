/**
 * Builds the fault of an HTTP error: for the operator the request, the status, the server's text, and what to change.
 * Clients read code, status and reference only (`model/client-error.ts`).
 * Guarantees: quotes are one line without control characters, masked before they are shortened; a server's text affects
 * the wording only, and tells 403 for a wrong Host or Origin from 403 for credentials.
 */
import { type ErrorDetail, HubError } from '../../../model/errors.ts';
import { sentence } from '../../../model/sentence.ts';
import type { ResponseHeaders } from '../../../net/egress.ts';
import type { Runtime } from '../../../runtime/runtime.ts';

/** An HTTP error, and the request that it answers. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: ResponseHeaders;
  /** The part of the body that was read. */
  readonly body: Buffer;
  /** Method and address (see `addressOf`); empty if unknown. */
  readonly asked: string;
}

export interface FaultHost {
  readonly runtime: Pick<Runtime, 'clock' | 'secrets'>;
  /** Name of the server, for people. */
  readonly server: string;
}

/** Why an answer refuses a request. */
type Objection = 'credentials' | 'scope' | 'host' | 'origin' | 'unspecified';

/** Characters of a body that are kept for `servers logs`. */
const PAGE_CHARS = 2048;
/** Characters of a body that are shown in the cause. */
const SHOWN_CHARS = 500;
/**
 * Bytes of a body that are decoded and masked; more than the longest quote, so that no part of a secret remains at its
 * end.
 */
const READ_BYTES = 4 * PAGE_CHARS;
const CHALLENGE_CHARS = 300;
const BEARER = /^bearer /i;
const ADDRESS_CHARS = 300;
/** Longest pause that a server may request, s. */
const RETRY_SECONDS = 3600;
const CONTROLS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd\s]+/gu;
const OF_HOST =
  /\b(?:invalid|unknown|wrong|bad|disallowed|forbidden|unrecognized|missing) host\b|\bhost (?:header|name )?.{0,80}\bnot allowed\b|\bhost header\b|\brebinding\b/i;
const OF_ORIGIN =
  /\b(?:invalid|unknown|wrong|bad|disallowed|forbidden|missing) origin\b|\borigin .{0,80}\bnot allowed\b|\borigin header\b/i;

/** Returns an address for the operator: without credentials and fragment, and only the names of the query. */
export function addressOf(url: URL): string {
  const names = [...url.searchParams.keys()].map((name) => `${name}=…`);
  const query = names.length === 0 ? '' : `?${names.join('&')}`;
  return oneLine(`${url.origin}${url.pathname}${query}`).slice(0, ADDRESS_CHARS);
}

/**
 * Returns what is known of a server that has not answered in time. `peer`: the connected address; `output`: of a
 * launched program.
 */
export function signsOf(asked: string, peer: string | undefined, output: readonly string[]): readonly string[] {
  const last = output.at(-1);
  return [
    peer === undefined ? `No connection was open for ${asked}.` : `${asked} went to ${peer}.`,
    ...(last === undefined ? [] : [`Its last line of output: ${sentence(last)}`]),
  ];
}

/** Builds the fault of a request that was answered with an HTTP error (status 400 or higher). */
export function httpFault({ runtime, server }: FaultHost, answer: ErrorAnswer): HubError {
  const { status, headers, asked } = answer;
  const page = oneLine(runtime.secrets.mask(answer.body.toString('utf8', 0, READ_BYTES))).slice(0, PAGE_CHARS);
  const challenge = cut(oneLine(runtime.secrets.mask(headerOf(headers, 'www-authenticate'))), CHALLENGE_CHARS);
  const objection = objectionIn(status, challenge, page);
  const at = asked === '' ? `HTTP ${status}` : `HTTP ${status} to ${asked}`;
  const quoted = [
    page === '' ? '' : ` Its response: ${sentence(cut(page, SHOWN_CHARS))}`,
    // Without the scheme, because the log masks what follows the word Bearer.
    challenge === '' || objection === 'scope' ? '' : ` WWW-Authenticate: ${sentence(challenge.replace(BEARER, ''))}`,
  ].join('');
  return new HubError(objection === undefined || isAddressed(objection) ? 'upstream-http' : 'upstream-auth', {
    message: `${reasonOf(objection, at, challenge)}${quoted}${adviceFor(objection)}`,
    detail: {
      server,
      phase: 'answer',
      status,
      operator: { body: page },
      outcome: objection !== undefined || status === 429 || status === 503 ? 'not-executed' : 'unknown',
      ...retryAfter(headers, runtime),
    },
  });
}

function isAddressed(objection: Objection): boolean {
  return objection === 'host' || objection === 'origin';
}

function objectionIn(status: number, challenge: string, page: string): Objection | undefined {
  if (status === 421) return 'host';
  if (status !== 401 && status !== 403) return undefined;
  if (challenge.includes('insufficient_scope') || page.includes('insufficient_scope')) return 'scope';
  if (status === 401 || challenge !== '') return 'credentials';
  if (OF_HOST.test(page)) return 'host';
  return OF_ORIGIN.test(page) ? 'origin' : 'unspecified';
}

function reasonOf(objection: Objection | undefined, at: string, challenge: string): string {
  switch (objection) {
    case 'credentials':
      return `The server refused the hub’s credentials: it answered ${at}.`;
    case 'scope': {
      const scope = /\bscope="([^"]{1,200})"/.exec(challenge)?.[1];
      const missing = scope === undefined ? '' : ` (scope "${scope}")`;
      return `The hub’s credentials lack a scope that the server requires${missing}: it answered ${at} with insufficient_scope.`;
    }
    case 'unspecified':
      return `The server refused the request, for the hub’s credentials or for another reason: it answered ${at}.`;
    default:
      return `The server answered ${at}.`;
  }
}

function adviceFor(objection: Objection | undefined): string {
  switch (objection) {
    case 'credentials':
    case 'scope':
      return ' The credentials are the setting "headers" of the server, or part of its "url".';
    case 'host':
      return (
        ' It does not serve the Host header that the hub sends: ' +
        'set "headers": {"Host": "…"} of the server to a name that it accepts, or allow the name there. Credentials are not the reason.'
      );
    case 'origin':
      return ' It does not accept the Origin header: set "headers": {"Origin": "…"} of the server to one that it accepts. Credentials are not the reason.';
    default:
      return '';
  }
}

/**
 * Returns the pause from seconds, or from an HTTP date (RFC 9110, section 10.2.3) relative to the Date of the same
 * response.
 */
function retryAfter(headers: ResponseHeaders, { clock }: Pick<Runtime, 'clock'>): Pick<ErrorDetail, 'retryAfterMs'> {
  const value = headerOf(headers, 'retry-after').trim();
  const date = /^[A-Za-z]{3,9}, /.test(value) ? Date.parse(value) : Number.NaN;
  const nowMs = Date.parse(headerOf(headers, 'date')) || clock.wallMs();
  const seconds = Number.isNaN(date) ? Number(value) : Math.ceil((date - nowMs) / 1000);
  return seconds > 0 && seconds <= RETRY_SECONDS ? { retryAfterMs: Math.round(seconds * 1000) } : {};
}

function headerOf(headers: ResponseHeaders, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.[0] ?? '');
}

function oneLine(text: string): string {
  return text.replace(CONTROLS, ' ').trim();
}

function cut(text: string, chars: number): string {
  return text.length > chars ? `${text.slice(0, chars)}…` : text;
}

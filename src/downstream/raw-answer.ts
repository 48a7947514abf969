/**
 * Whole responses, as bytes, for requests that Node has not handed over: the same JSON-RPC errors as elsewhere.
 */
import { Refusal } from '../model/outcome.ts';
import { refusalFrame } from '../protocol/write.ts';

export interface RawAnswer {
  readonly refusal: Refusal;
  /** Returns the whole response, one character for each byte. `more`: headers for a request whose headers were read. */
  readonly text: (more?: readonly (readonly [name: string, value: string])[]) => string;
}

const NULL_ID = Buffer.from('null');
export const BUSY = rawAnswer(
  '503 Service Unavailable',
  new Refusal(
    'overloaded',
    'Too many connections. If this address is a reverse proxy, list it in settings.trustedProxies.',
    {
      setting: 'connections',
    },
  ),
);
const MALFORMED = rawAnswer('400 Bad Request', new Refusal('http-malformed'));
/** For CONNECT: Node detaches the connection. */
export const NO_PROXY = rawAnswer(
  '405 Method Not Allowed',
  new Refusal('method-not-allowed', 'CONNECT is not supported: the hub is not a proxy.'),
);
/** By Node's error code. */
const RAW_ANSWERS: ReadonlyMap<string, RawAnswer> = new Map([
  ['HPE_HEADER_OVERFLOW', rawAnswer('431 Request Header Fields Too Large', new Refusal('headers-too-large'))],
  [
    'ERR_HTTP_REQUEST_TIMEOUT',
    rawAnswer('408 Request Timeout', new Refusal('body-slow', 'The request did not arrive in time.')),
  ],
]);

/** Returns the answer to a request that failed with this error code of Node. */
export function answerTo(code: string | undefined): RawAnswer {
  return RAW_ANSWERS.get(code ?? '') ?? MALFORMED;
}

function rawAnswer(status: string, refusal: Refusal): RawAnswer {
  const body = refusalFrame(NULL_ID, refusal).toString('latin1');
  const head = [
    `HTTP/1.1 ${status}`,
    'content-type: application/json',
    'x-content-type-options: nosniff',
    'cache-control: no-store',
    ...(status.startsWith('503') ? ['retry-after: 1'] : []),
    ...(status.startsWith('405') ? ['allow: POST'] : []),
    'connection: close',
    `content-length: ${body.length}`,
  ];
  const text = head.join('\r\n');
  return {
    refusal,
    text: (more = []) => `${text}\r\n${more.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  };
}

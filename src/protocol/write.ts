/**
 * Writes JSON-RPC messages as bytes: a frame around text that is passed on unchanged.
 * Guarantees: ids, params and results keep every byte, except for what is replaced explicitly.
 */
import { clientError } from '../model/client-error.ts';
import type { Refusal } from '../model/outcome.ts';
import { jsonBytes, wellFormedText } from './json-text.ts';
import type { CallParams, Envelope, Progress, Span } from './message.ts';

const RESULT_HEAD = Buffer.from('{"jsonrpc":"2.0","id":');
const RESULT_MEMBER = Buffer.from(',"result":');
const ERROR_MEMBER = Buffer.from(',"error":');
const BACKSLASH = 0x5c;
const TAIL = Buffer.from('}');
const NOTHING = Buffer.alloc(0);

export function resultFrame(idRaw: Buffer, result: Buffer): Buffer {
  return Buffer.concat([RESULT_HEAD, idRaw, RESULT_MEMBER, result, TAIL]);
}

/** Returns an error response. `error` is the complete JSON text of an error object. */
export function rawErrorFrame(idRaw: Buffer, error: Buffer): Buffer {
  return Buffer.concat([RESULT_HEAD, idRaw, ERROR_MEMBER, error, TAIL]);
}

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

export function errorFrame(idRaw: Buffer, error: RpcError): Buffer {
  return rawErrorFrame(wellFormedId(idRaw), jsonBytes(error));
}

/** Repairs the id of a refused message, which may not have been scanned strictly. */
function wellFormedId(idRaw: Buffer): Buffer {
  return idRaw.includes(BACKSLASH) ? Buffer.from(wellFormedText(idRaw.toString('utf8'))) : idRaw;
}

/**
 * Returns a refusal of the hub as a JSON-RPC error: the message, and in `data` the code's name, whether a retry helps,
 * and the detail.
 */
export function refusalFrame(idRaw: Buffer, refusal: Refusal, requestId?: string): Buffer {
  return errorFrame(idRaw, clientError(refusal, requestId));
}

/** Returns a request. `id` is a number, or the raw JSON text of an id. */
export function requestFrame(id: number | string, method: string, params: Buffer | undefined): Buffer {
  const head = `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)}`;
  return params === undefined
    ? Buffer.from(`${head}}`)
    : Buffer.concat([Buffer.from(`${head},"params":`), params, TAIL]);
}

export function notificationFrame(method: string, params: Buffer | undefined): Buffer {
  const head = `{"jsonrpc":"2.0","method":${JSON.stringify(method)}`;
  return params === undefined
    ? Buffer.from(`${head}}`)
    : Buffer.concat([Buffer.from(`${head},"params":`), params, TAIL]);
}

export interface Replacement extends Span {
  readonly with: Buffer;
}

/** Returns `bytes` with each span replaced; the spans must be in order and must not overlap. */
export function replaceSpans(bytes: Buffer, replacements: readonly Replacement[]): Buffer {
  const pieces: Buffer[] = []; // bounded by: replacements
  let at = 0;
  for (const replacement of replacements) {
    pieces.push(bytes.subarray(at, replacement.at), replacement.with);
    at = replacement.end;
  }
  pieces.push(bytes.subarray(at));
  return Buffer.concat(pieces);
}

/** Returns the message with the value at `span` replaced. Later spans are moved; nothing is scanned again. */
export function withValue(envelope: Envelope, span: Span, text: Buffer): Envelope {
  const shift = text.length - (span.end - span.at);
  const place = (at: number): number => (at >= span.end ? at + shift : at);
  const moved = ({ at, end }: Span): Span => ({ at: place(at), end: place(end) });
  return {
    ...envelope,
    bytes: replaceSpans(envelope.bytes, [{ ...span, with: text }]),
    id: moved(envelope.id),
    params: moved(envelope.params),
    result: moved(envelope.result),
    error: moved(envelope.error),
    inParams: envelope.inParams?.map(place),
  };
}

/**
 * Returns the message without a member of its params; `index` is that of the first of its four numbers in `inParams`.
 */
function withoutParamAt(envelope: Envelope, inParams: readonly number[], index: number): Envelope {
  const isFirst = index === 0;
  // Includes the comma before it, or the one after it when it is the first member.
  const at = isFirst ? (inParams[0] as number) : (inParams[index - 1] as number);
  const end = (isFirst ? inParams[4] : undefined) ?? (inParams[index + 3] as number);
  const rest = [...inParams.slice(0, index), ...inParams.slice(index + 4)];
  return withValue({ ...envelope, inParams: rest }, { at, end }, NOTHING);
}

/**
 * Returns the message without the value at `span`, a member of its params; the same message when its params were not
 * recorded.
 */
export function withoutParam(envelope: Envelope, span: Span): Envelope {
  const { inParams = [] } = envelope;
  for (let i = 0; i < inParams.length; i += 4)
    if (inParams[i + 2] === span.at) return withoutParamAt(envelope, inParams, i);
  return envelope;
}

/**
 * Returns the params for the server: the native name (or URI) in place of the client's, and the hub's progress token.
 * The name stays when `nativeJson` is undefined; `token` is undefined when the client wants no progress. All other
 * bytes stay.
 */
export function callParamsFor(
  bytes: Buffer,
  params: Span,
  call: Progress & Partial<CallParams>,
  nativeJson: Buffer | undefined,
  token: number | undefined,
): Buffer {
  const shifted = ({ at, end }: Span, text: Buffer): Replacement => ({
    at: at - params.at,
    end: end - params.at,
    with: text,
  });
  const name = nativeJson && call.nameSpan ? [shifted(call.nameSpan, nativeJson)] : [];
  const hasToken = token !== undefined && call.progressTokenSpan.at >= 0;
  const progress = hasToken ? [shifted(call.progressTokenSpan, Buffer.from(String(token)))] : [];
  return replaceSpans(
    bytes.subarray(params.at, params.end),
    [...name, ...progress].sort((a, b) => a.at - b.at),
  );
}

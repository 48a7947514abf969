/**
 * Reads what reaches a client as the strictest client does: valid UTF-8, JSON without lone surrogates, JSON-RPC 2.0,
 * the framing of server-sent events and of stdio. Throws an `AssertionError` that quotes what is invalid.
 */
import assert from 'node:assert/strict';

export interface StrictMessage {
  readonly id?: string | number | null;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked into by the tests
  readonly result?: any;
  readonly error?: {
    readonly code: number;
    readonly message: string;
    readonly data?: Readonly<Record<string, unknown>>;
  };
}

const MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error']);

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return assert.fail(`not UTF-8: ${shown(bytes)}`);
  }
}

function shown(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes).toString('latin1').slice(0, 400));
}

/** Returns the one message in `bytes`. */
export function strictMessage(bytes: Uint8Array): StrictMessage {
  const text = textOf(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text, (key, one: unknown) => {
      assert.ok(
        key.isWellFormed() && (typeof one !== 'string' || one.isWellFormed()),
        `lone surrogate: ${shown(bytes)}`,
      );
      return one;
    });
  } catch (fault) {
    assert.fail(`not JSON (${fault}): ${shown(bytes)}`);
  }
  assertEnvelope(value, shown(bytes));
  return value as StrictMessage;
}

/** Returns the message of a body, or those of a batch. */
export function strictBody(bytes: Uint8Array): StrictMessage[] {
  return bytes[0] === 0x5b ? strictBatch(bytes) : [strictMessage(bytes)];
}

/** Returns the messages of a batch. */
export function strictBatch(bytes: Uint8Array): StrictMessage[] {
  const values: unknown = JSON.parse(textOf(bytes));
  assert.ok(Array.isArray(values) && values.length > 0, shown(bytes));
  return values.map((value) => strictMessage(Buffer.from(JSON.stringify(value))));
}

function assertEnvelope(value: unknown, what: string): void {
  assert.ok(isObject(value), `no object: ${what}`);
  for (const key of Object.keys(value)) assert.ok(MEMBERS.has(key), `member ${key}: ${what}`);
  const { jsonrpc, id, method, params, result, error } = value;
  assert.equal(jsonrpc, '2.0', what);
  const isNamed = typeof id === 'string' || typeof id === 'number';
  if ('method' in value) {
    assert.ok(typeof method === 'string' && !('result' in value) && !('error' in value), what);
    assert.ok(!('id' in value) || isNamed, `id: ${what}`);
    assert.ok(!('params' in value) || isObject(params), `params: ${what}`);
  } else if ('error' in value) {
    assert.ok(!('result' in value) && (isNamed || id === null), what);
    assert.ok(
      isObject(error) && Number.isSafeInteger(error.code) && typeof error.message === 'string',
      `error: ${what}`,
    );
  } else assert.ok(isObject(result) && isNamed, `result: ${what}`);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Returns the messages of a whole stream of server-sent events. */
export function strictEvents(bytes: Uint8Array): StrictMessage[] {
  const text = textOf(bytes);
  assert.ok(!text.includes('\r') && !text.includes('\0'), `a line end or NUL: ${shown(bytes)}`);
  const messages: StrictMessage[] = [];
  let data: string[] = [];
  for (const line of text.split('\n')) {
    if (line === '') {
      const whole = data.join('\n');
      if (whole !== '') messages.push(strictMessage(Buffer.from(whole)));
      data = [];
    } else if (line.startsWith('data:')) data.push(line.replace(/^data: ?/, ''));
    else
      assert.match(line, /^(:.*|event: message|id: [\x21-\x7e]+|retry: \d+)$/, `a line of a stream: ${shown(bytes)}`);
  }
  assert.deepEqual(data, [], `the stream ends within an event: ${shown(bytes)}`);
  return messages;
}

/**
 * Returns the messages of lines, each of which ends with one LF; the last piece may be unfinished and is returned as
 * `rest`.
 */
export function strictLines(bytes: Buffer): { readonly messages: StrictMessage[]; readonly rest: Buffer } {
  const messages: StrictMessage[] = [];
  let at = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, at)) {
    const line = bytes.subarray(at, end);
    assert.ok(!line.includes(0x0d), `a line end within a message: ${shown(line)}`);
    messages.push(strictMessage(line));
    at = end + 1;
  }
  return { messages, rest: Buffer.from(bytes.subarray(at)) };
}

/** Forms of answers that servers give: each makes what is written from a good answer. */

export interface GoodAnswer {
  readonly id: number;
  /** JSON text of the result. */
  readonly result: string;
  /** The whole message. */
  readonly text: string;
}

/** A message that is framed as its wire demands, or the bytes on the wire as they are. */
export type Written = string | Raw;
export interface Raw {
  readonly raw: string | Buffer;
  /** Of an HTTP answer; the type of its wire when absent, none when empty. */
  readonly type?: string;
  readonly status?: number;
  /** Written a moment later. */
  readonly later?: string;
}
export type AnswerForm = (good: GoodAnswer) => Written;

const reply = (members: string): string => `{"jsonrpc":"2.0",${members}}`;
const REFUSAL = '{"code":-32029,"message":"slow down"}';

const NOTICE = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}';
const raw = (name: string, bytes: (good: GoodAnswer) => string | Buffer): Record<string, AnswerForm> => ({
  [name]: (good) => ({ raw: bytes(good) }),
});

const deep = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
const EVENTS = {
  ...{ done: '[DONE]', heartbeat: '{"type":"heartbeat"}', empty: '{}', nothing: 'null', word: 'ping' },
  ...{
    array: '{"jsonrpc":"2.0","method":"notifications/message","params":[]}',
    unnamed: '{"jsonrpc":"2.0","id":null,"result":{}}',
  },
};
const TYPES = [
  '',
  'text/plain',
  'text/json',
  'application/json-rpc',
  'application/vnd.api+json',
  'application/octet-stream',
  'application/json, application/json',
  'text/event-stream',
];

export const ANSWER_FORMS: Readonly<Record<string, AnswerForm>> = {
  // SV1: members that are null
  null_error: ({ id, result }) => reply(`"id":${id},"result":${result},"error":null`),
  null_method: ({ id, result }) => reply(`"id":${id},"method":null,"params":null,"result":${result}`),
  null_result: ({ id }) => reply(`"id":${id},"result":null,"error":${REFUSAL}`),
  null_method_error: ({ id }) => reply(`"method":null,"error":${REFUSAL},"result":null,"id":${id}`),
  // SV18: ids in another spelling
  string_id: ({ id, result }) => reply(`"id":"${id}","result":${result}`),
  float_id: ({ id, result }) => reply(`"id":${id}.0,"result":${result}`),
  exponent_id: ({ id, result }) => reply(`"id":${id}0e-1,"result":${result}`),
  float_text_id: ({ id, result }) => reply(`"result":${result},"id":"${id}.0"`),
  // SV26: errors without an id
  nameless_error: () => reply(`"id":null,"error":${REFUSAL}`),
  error_without_id: () => reply(`"error":${REFUSAL}`),
  error_text: ({ id }) => reply(`"id":${id},"error":"slow down"`),
  nameless_error_invalid: () => reply('"id":null,"error":{"code":1,"message":"m","a\tb":1}'),
  nameless_error_text: () => reply('"id":null,"error":"slow down"'),
  // SV43: values that JSON does not have
  ...Object.fromEntries(
    Object.entries({
      ...{ nan: 'NaN', infinity: '-Infinity', undefined_value: 'undefined', none: 'None', hex: '0x10', plus: '+1' },
      ...{ zero: '01', comma: '[1,]', quotes: "'a'", cut: '{"a":' },
    }).map(([name, value]): [string, AnswerForm] => [
      name,
      ({ id }) => reply(`"id":${id},"result":{"content":[],"structuredContent":{"x":${value}}}`),
    ]),
  ),
  nan_before_id: ({ id }) => reply(`"result":{"content":[],"structuredContent":{"x":NaN}},"id":${id}`),
  python: ({ id }) => `{'jsonrpc': '2.0', 'id': ${id}, 'result': {'content': []}}`,
  nan_without_id: () => reply('"result":{"x":NaN}'),
  // SV27: nested more deeply than bodyDepth
  deep: ({ id }) => reply(`"id":${id},"result":{"content":[],"structuredContent":${deep(200)}}`),
  deep_rows: ({ id }) =>
    reply(
      `"id":${id},"result":{"tools":[{"name":"abyss","inputSchema":{"type":"object","properties":${deep(100)}}},{"inputSchema":{"type":"object","x":${deep(2000)}},"name":"chasm"},{"name":"well","inputSchema":{"type":"object"}}]}`,
    ),
  // SV6: events that are no messages
  ...Object.fromEntries(
    Object.entries(EVENTS).flatMap(([name, event]): [string, AnswerForm][] => [
      [`${name}_before`, ({ text }) => ({ raw: `data: ${event}\n\ndata: ${text}\n\n` })],
      [`${name}_after`, ({ text }) => ({ raw: `data: ${text}\n\ndata: ${event}\n\n` })],
      [`${name}_first`, ({ text }) => ({ raw: `data: ${event}\n\n`, later: `data: ${text}\n\n` })],
    ]),
  ),
  nameless_result: () => reply('"id":null,"result":{}'),
  // SV3, SV25: bodies that are not what their media type says
  ...Object.fromEntries(
    TYPES.map((type, nth): [string, AnswerForm] => [`json_type_${nth}`, ({ text }) => ({ raw: text, type })]),
  ),
  ...Object.fromEntries(
    ['data: ', 'event: message\ndata: ', 'id: 1\ndata: ', ': begun\n\ndata: '].map(
      (begin, nth): [string, AnswerForm] => [
        `events_type_${nth}`,
        ({ text }) => ({ raw: `${begin}${text}\n\n`, type: 'application/json' }),
      ],
    ),
  ),
  text_400: ({ id }) => ({ raw: reply(`"id":${id},"error":${REFUSAL}`), type: 'text/plain', status: 400 }),
  nameless_400: () => ({ raw: reply(`"id":null,"error":${REFUSAL}`), status: 400 }),
  events_400: ({ id }) => ({
    raw: `data: ${reply(`"id":${id},"error":${REFUSAL}`)}`,
    type: 'text/event-stream',
    status: 400,
  }),
  html: () => ({ raw: '<html>no</html>', type: 'text/html' }),
  // SV48: a message that is not alone on its line, or not on one line
  pretty: ({ text }) => JSON.stringify(JSON.parse(text), null, 2),
  spaced: ({ text }) => `  ${text}\t `,
  prefixed: ({ text }) => `log: ${text}`,
  ...raw('coloured', ({ text }) => `\u001b[32m${text}\u001b[0m\n`),
  ...raw('two_in_line', ({ text }) => `${NOTICE}${text}\n`),
  ...raw('trailing_text', ({ text }) => `${text} done in 3 ms\n`),
  ...raw('no_newline', ({ text }) => text),
  ...raw('trailing_nul', ({ text }) => `${text}\0\n`),
  ...raw('return_only', ({ text }) => `${NOTICE}\r${text}\r`),
  ...raw('pretty_between', ({ text }) => `${NOTICE}\n${JSON.stringify(JSON.parse(text), null, '\t')}\n${NOTICE}\n`),
  ...raw('utf16', ({ text }) => Buffer.from(`${text}\n`, 'utf16le')),
  ...raw('utf16_big', ({ text }) => Buffer.from(`${text}\n`, 'utf16le').swap16()),
  ...raw('two_values', ({ id, text }) => `${text}{"jsonrpc":"2.0","id":${id},"result":{\n`),
};

/**
 * Texts of megabytes that are slow to read, each in another way: as messages, as lines of stdout, and as events.
 * `@ID@` stands for the number of the request.
 */

/** Below `stdioLineBytes`. */
const BYTES = 15 * 1024 * 1024;
/** So many of them are just below `answerValues`. */
const ITEM = '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",';

export type Shapes = Readonly<Record<string, () => Buffer>>;

function many(text: string, bytes = BYTES): string {
  return text.repeat(Math.floor(bytes / text.length));
}

function text(...parts: readonly string[]): Buffer {
  return Buffer.from(parts.join(''), 'latin1');
}

function reply(result: string): Buffer {
  return text('{"jsonrpc":"2.0","id":@ID@,"result":', result, '}');
}

function error(members: string): Buffer {
  return text('{"jsonrpc":"2.0","id":@ID@,"error":{', members, '}}');
}

function notice(method: string, params: string): Buffer {
  return text(`{"jsonrpc":"2.0","method":"notifications/${method}","params":{`, params, '}}');
}

/** The bytes with another one at `at`, from the end. */
function spoilt(bytes: Buffer, at: number, byte: number): Buffer {
  bytes[bytes.length - at] = byte;
  return bytes;
}

const values = (bytes = BYTES): string => `[${many(ITEM, bytes)}1]`;
const members = (): string =>
  Array.from({ length: 400_000 }, (_, at) => `"k${at}aaaaaaaaaaaaaaaaaaaaaaa":"v"`).join(',');

/** One message, or what would be one. */
export const MESSAGES: Shapes = {
  'one text': () => reply(`{"a":"${many('x')}"}`),
  escapes: () => reply(`{"a":"${many('\\n')}"}`),
  values: () => reply(`{"a":${values()}}`),
  'too many values': () => reply(`{"a":[${many('1,')}1]}`),
  'members of a result': () => reply(`{${members()}}`),
  'members in a result': () => reply(`{"a":{${members()}}}`),
  brackets: () => reply(`{"a":[${many(`${'['.repeat(3000)}${']'.repeat(3000)},`)}1]}`),
  'white space inside': () => reply(`{"a":${many(' \t')}1}`),
  'white space before': () => Buffer.concat([text(many(' \t')), reply('{}')]),
  'white space behind': () => Buffer.concat([reply('{}'), text(many(' \t'))]),
  'one number': () => reply(`{"a":0.${many('1')}}`),
  'one name': () => reply(`{"${many('\\n')}":1}`),
  'an error with much data': () => error(`"code":1,"message":"m","data":${values()}`),
  'an error without a code': () => error(`"data":${values()}`),
  'an error with white space': () => error(`"code":1,${many(' ')}"message":"m"`),
  'what is not UTF-8': () => spoilt(reply(`{"a":["${many('\\"n')}"]}`), 8, 0xff),
  'a control character': () => spoilt(reply(`{"a":["${many('\\"n')}"]}`), 8, 0x01),
  'a fault at the end': () => spoilt(reply(`{"a":${values()}}`), 1, 0x21),
  'halves of surrogate pairs': () => reply(`{"a":"${many('\\ud800')}"}`),
  'a log line': () => notice('message', `"level":"info","data":${values()}`),
  progress: () => notice('progress', `"a":${values()},"progressToken":@ID@,"progress":1`),
  'a cancellation': () => notice('cancelled', `"a":${values()},"requestId":5`),
  'a batch of large messages': () =>
    text('[', ...Array<string>(99).fill(`{"jsonrpc":"2.0","id":90000,"result":{"a":${values(BYTES / 100)}}},`), '{}]'),
  'a batch of one': () => text('[', reply(`{"a":${values()}}`).toString('latin1'), ']'),
  'a batch of small messages': () => text('[', many('{"jsonrpc":"2.0","id":90000,"result":{}},'), '{}]'),
  'a batch of white space': () => text('[', many(' \t'), ']'),
  'brackets without end': () => text(many('[')),
  'no JSON': () => text(many('hello world {"id":5 ')),
};

/** On stdout. */
export const LINES: Shapes = {
  'a message without a line end': () => reply(`{"a":${values()}}`),
  'a message that is cut off': () => reply(`{"a":[${many(ITEM)}{}`),
  'text before a message': () => text('INFO: ', reply(`{"a":${values()}}`).toString('latin1'), '\n'),
  'text behind a message': () => text(reply(`{"a":${values()}}`).toString('latin1'), ' INFO\n'),
  'two messages in a line': () =>
    text(...Array<string>(2).fill(reply(`{"a":${values(BYTES / 2)}}`).toString('latin1')), '\n'),
  'an object on two lines': () => text('{"jsonrpc":"2.0",\n"id":@ID@,"result":{"a":', values(), '}}\n'),
  'colours before a message': () => text(many('\u001b[0m'), reply('{}').toString('latin1'), '\n'),
  'NULs before a message': () => Buffer.concat([Buffer.alloc(BYTES), reply('{}'), text('\n')]),
  'empty lines': () => text(many('\n', 2e6)),
  'many replies': () => text(many('{"jsonrpc":"2.0","id":90000,"result":{}}\n', 2e6)),
};

/** On an event stream. */
export const EVENTS: Shapes = {
  'data lines': () => text(many('data:1\n', 2e6), '\n'),
  'empty lines': () => text(many('\n', 2e6)),
  comments: () => text(many(':\n', 2e6)),
  'carriage returns': () => text(many('\r', 2e6)),
  ids: () => text(many('id:1\n\n', 2e6)),
  'one long field': () => text(many('x'), '\n\n'),
  'one long name of a field': () => text(many('x'), ': 1\n\n'),
  'one long name of an event': () => text('event: ', many('x'), '\n\n'),
  'one long id': () => text('id: ', many('x'), '\n\n'),
  'one long retry time': () => text('retry: ', many('1'), '\n\n'),
  'many notices': () =>
    text(many('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}\n\n', 2e6)),
  'many replies': () => text(many('data: {"jsonrpc":"2.0","id":90000,"result":{}}\n\n', 2e6)),
  'many that are no messages': () => text(many('data: {"jsonrpc":"2.0","id":90000,"result":{}\n\n', 2e6)),
};

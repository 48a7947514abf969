import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HubError } from '../model/errors.ts';
import { ResponseParser } from './_http-wire.ts';
import type { ResponseHeaders } from './egress.ts';

interface Read {
  readonly status: number;
  readonly headers: ResponseHeaders;
  readonly body: string;
  readonly done: boolean;
  readonly reusable: boolean;
  /** Bytes up to the end of the response. */
  readonly bytes: number;
  /** Reason of the error. */
  readonly fault: string;
}

interface How {
  /** Sizes of the pieces, repeated. */
  readonly cuts?: readonly number[];
  readonly bodiless?: boolean;
  /** The connection ends after the last byte. */
  readonly ends?: boolean;
}

/** Reads as a socket would: each piece into the same buffer. */
function read(bytes: Buffer, { cuts = [bytes.length], bodiless = false, ends = false }: How = {}): Read {
  let status = 0;
  let headers: ResponseHeaders = {};
  const body: Buffer[] = [];
  const parser = new ResponseParser(
    {
      head(code, fields) {
        assert.equal(status, 0, 'one head');
        status = code;
        headers = { ...fields };
      },
      body(chunk) {
        assert.equal(chunk.length > 0, true);
        body.push(chunk);
      },
    },
    true,
  );
  parser.begin(bodiless);
  const shared = Buffer.alloc(Math.max(1, bytes.length));
  let at = 0;
  let fault = '';
  try {
    for (let turn = 0; at < bytes.length && !parser.done; turn += 1) {
      const size = Math.min(Math.max(1, cuts[turn % cuts.length] ?? 1), bytes.length - at);
      bytes.copy(shared, 0, at, at + size);
      const end = parser.execute(shared, 0, size);
      shared.fill(0x58);
      at += end;
      assert.equal(end === size || parser.done, true, 'all is read until the end');
    }
    if (ends && !parser.done) parser.finish();
  } catch (thrown) {
    assert.ok(thrown instanceof HubError, String(thrown));
    assert.equal(thrown.code, 'upstream-protocol');
    fault = String(thrown.detail.reason);
  }
  const bytesRead = fault === '' && parser.done ? at : -1;
  return {
    ...{ status, headers, body: Buffer.concat(body).toString('latin1'), done: parser.done && fault === '' },
    ...{ reusable: parser.done && fault === '' && parser.reusable, bytes: bytesRead, fault },
  };
}

const text = (...lines: string[]): Buffer => Buffer.from(lines.join('\r\n'), 'latin1');
const head = (...fields: string[]): string => ['HTTP/1.1 200 OK', ...fields, '', ''].join('\r\n');
const answer = (fields: string[], body = ''): Buffer => Buffer.from(head(...fields) + body, 'latin1');

test('bodies by length, in chunks, until the end, and none', () => {
  const cases: readonly [string, Buffer, How, Partial<Read>][] = [
    ['length', answer(['Content-Length: 5'], 'hello'), {}, { body: 'hello', done: true, reusable: true }],
    ['length 0', answer(['content-length:0']), {}, { body: '', done: true, reusable: true }],
    ['same length twice', answer(['Content-Length: 2', 'content-length: 2'], 'ab'), {}, { body: 'ab', reusable: true }],
    ['same length in a list', answer(['Content-Length: 2 , 2'], 'ab'), {}, { body: 'ab', reusable: true }],
    ['short', answer(['Content-Length: 5'], 'hell'), { ends: true }, { body: 'hell', done: false }],
    [
      'chunks',
      answer(['Transfer-Encoding: Chunked'], '3\r\nabc\r\n0A;x="y z"\r\n0123456789\r\n1 ;q\r\n!\r\n0\r\nX: y\r\n\r\n'),
      {},
      { body: 'abc0123456789!', done: true, reusable: true },
    ],
    [
      'chunks cut',
      answer(['Transfer-Encoding: chunked'], '3\r\nabc\r\n'),
      { ends: true },
      { body: 'abc', done: false },
    ],
    [
      'chunks win over a length, and the connection ends',
      answer(['Content-Length: 1', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n0\r\n\r\n'),
      {},
      { body: 'abc', done: true, reusable: false },
    ],
    ['until the end', answer([], 'all of it'), { ends: true }, { body: 'all of it', done: true, reusable: false }],
    ['not ended', answer([], 'all of it'), {}, { body: 'all of it', done: false }],
    ['no head', text('HTTP/1.1 200 OK', 'a: b'), { ends: true }, { done: false, fault: '' }],
    ['204', text('HTTP/1.1 204 No Content', 'content-length: 9', '', ''), {}, { done: true, body: '', reusable: true }],
    ['304', text('HTTP/1.1 304 x', 'content-length: 9', '', ''), {}, { done: true, body: '', reusable: true }],
    ['HEAD', answer(['Content-Length: 5']), { bodiless: true }, { done: true, body: '', reusable: true }],
  ];
  for (const [name, bytes, how, expected] of cases) {
    const { status, headers, ...seen } = read(bytes, how);
    for (const [key, value] of Object.entries(expected))
      assert.equal(seen[key as keyof typeof seen], value, `${name}: ${key}`);
    assert.equal(seen.fault, '', name);
  }
});

test('a body or chunk that comes in several reads lies in one buffer, unless little of it has come or it is long', () => {
  const buffersOf = (head: string, body: string, cuts: readonly number[]): number => {
    const bodies: Buffer[] = [];
    const parser = new ResponseParser({ head() {}, body: (chunk) => bodies.push(chunk) }, true);
    parser.begin(false);
    const bytes = Buffer.from(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`);
    parser.execute(bytes, 0, bytes.length);
    const text = Buffer.from(body);
    for (let at = 0, turn = 0; at < text.length; turn += 1) {
      const end = Math.min(text.length, at + (cuts[turn] ?? text.length));
      parser.execute(text, at, end);
      at = end;
    }
    assert.ok(parser.done);
    assert.ok(text.includes(Buffer.concat(bodies)));
    let from: Buffer | undefined;
    return bodies.filter((chunk) => {
      const isBehind = from?.buffer === chunk.buffer && from.byteOffset + from.length === chunk.byteOffset;
      from = chunk;
      return !isBehind;
    }).length;
  };
  const text = 'abcdefghij'.repeat(10_000);
  assert.equal(buffersOf('Content-Length: 100000', text, [65_536, 20_000]), 1);
  assert.equal(buffersOf('Transfer-Encoding: chunked', `186a0\r\n${text}\r\n0\r\n\r\n`, [40_000, 40_000]), 1);
  assert.equal(buffersOf('Content-Length: 100000', text, [1000, 50_000]), 2, 'little had come');
  assert.equal(buffersOf('Content-Length: 2000000', text.repeat(20), [1_000_000]), 2, 'longer than 1 MiB');
});

test('a connection is kept as the head says', () => {
  const cases: readonly [string, boolean][] = [
    ['HTTP/1.1 200 OK', true],
    ['HTTP/1.1 200 OK\r\nConnection: close', false],
    ['HTTP/1.1 200 OK\r\nConnection: Foo, CLOSE', false],
    ['HTTP/1.1 200 OK\r\nConnection: foo\r\nConnection: close', false],
    ['HTTP/1.1 200 OK\r\nConnection: foo', true],
    ['HTTP/1.0 200 OK', false],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive', true],
    ['HTTP/1.0 200 OK\r\nConnection: Keep-Alive, x', true],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive, close', false],
  ];
  for (const [start, kept] of cases) {
    const seen = read(Buffer.from(`${start}\r\ncontent-length: 1\r\n\r\n.`));
    assert.deepEqual([seen.done, seen.reusable], [true, kept], start);
  }
});

test('fields are in lower case, trimmed, lists where they come again, and no name is magic', () => {
  const seen = read(
    answer([
      'Content-Type:\t text/plain \t',
      'X-A: 1',
      'x-a:2',
      'X-Empty:',
      '__proto__: x',
      'Content-Length: 0',
      'L: \xe9',
    ]),
  );
  assert.deepEqual(Object.entries(seen.headers), [
    ['content-type', 'text/plain'],
    ['x-a', ['1', '2']],
    ['x-empty', ''],
    ['__proto__', 'x'],
    ['content-length', '0'],
    ['l', '\xe9'],
  ]);
});

test('status lines without a reason pass', () => {
  for (const line of ['HTTP/1.1 202', 'HTTP/1.1 202 ', 'HTTP/1.1 202 Very \xe9 well\t'])
    assert.equal(read(text(line, 'content-length: 0', '', '')).status, 202, line);
});

test('interim answers are skipped, a hundred at most', () => {
  const interim = (count: number): Buffer =>
    Buffer.from(`${'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'.repeat(count)}${head('content-length: 2')}ok`);
  const seen = read(interim(100), { cuts: [7] });
  assert.deepEqual([seen.status, seen.body, seen.headers.link], [200, 'ok', undefined]);
  assert.equal(read(interim(101)).fault, 'http-interim');
});

test('a surplus behind an answer is left where it is', () => {
  for (const fields of [['content-length: 2'], ['transfer-encoding: chunked']]) {
    const body = fields[0]?.startsWith('t') ? '2\r\nok\r\n0\r\n\r\n' : 'ok';
    const bytes = answer(fields, body);
    const seen = read(Buffer.concat([bytes, Buffer.from('HTTP/1.1 200 OK\r\n')]));
    assert.deepEqual([seen.body, seen.bytes], ['ok', bytes.length], fields[0]);
  }
});

test('what is no HTTP is refused by name', () => {
  const chunked = (body: string): Buffer => answer(['transfer-encoding: chunked'], body);
  const cases: readonly [string, Buffer, string][] = [
    ['a greeting', Buffer.from('SSH-2.0-x'), 'http-status-line'],
    ['garbage without an end', Buffer.alloc(50, 0), 'http-status-line'],
    ['HTTP/2', text('HTTP/2 200', ''), 'http-status-line'],
    ['HTTP/1.2', text('HTTP/1.2 200 OK', ''), 'http-status-line'],
    ['an empty line first', text('', 'HTTP/1.1 200 OK', ''), 'http-status-line'],
    ['two spaces', text('HTTP/1.1  200 OK', ''), 'http-status-line'],
    ['a short status', text('HTTP/1.1 20 OK', ''), 'http-status-line'],
    ['a long status', text('HTTP/1.1 2000 OK', ''), 'http-status-line'],
    ['status 0', text('HTTP/1.1 000 OK', ''), 'http-status-line'],
    ['a NUL in the reason', text('HTTP/1.1 200 O\0K', ''), 'http-status-line'],
    ['a bare LF', Buffer.from('HTTP/1.1 200 OK\n\n'), 'http-line'],
    ['a bare LF later', Buffer.from('HTTP/1.1 200 OK\r\na: b\n\n'), 'http-line'],
    ['a bare CR', text('HTTP/1.1 200 OK', 'a: b\rc: d', '', ''), 'http-header'],
    ['a folded line', text('HTTP/1.1 200 OK', 'a: b', ' c', '', ''), 'http-header'],
    ['no colon', text('HTTP/1.1 200 OK', 'abc', '', ''), 'http-header'],
    ['no name', text('HTTP/1.1 200 OK', ': x', '', ''), 'http-header'],
    ['a space before the colon', text('HTTP/1.1 200 OK', 'a : x', '', ''), 'http-header'],
    ['a NUL in a value', text('HTTP/1.1 200 OK', 'a: x\0', '', ''), 'http-header'],
    ['an upgrade', text('HTTP/1.1 101 Switching', 'upgrade: h2c', '', ''), 'http-upgrade'],
    ['lengths that differ', answer(['content-length: 1', 'content-length: 2']), 'http-length'],
    ['lengths that differ in a list', answer(['content-length: 1, 2']), 'http-length'],
    ['a negative length', answer(['content-length: -1']), 'http-length'],
    ['a signed length', answer(['content-length: +1']), 'http-length'],
    ['a hexadecimal length', answer(['content-length: 0x1']), 'http-length'],
    ['an endless length', answer([`content-length: ${'9'.repeat(30)}`]), 'http-length'],
    ['a bad length beside chunks', answer(['content-length: x', 'transfer-encoding: chunked']), 'http-length'],
    ['a coding before chunks', answer(['transfer-encoding: gzip, chunked']), 'http-coding'],
    ['another coding', answer(['transfer-encoding: identity']), 'http-coding'],
    ['chunked twice', answer(['transfer-encoding: chunked', 'transfer-encoding: chunked']), 'http-coding'],
    ['chunks of 1.0', text('HTTP/1.0 200 OK', 'transfer-encoding: chunked', '', ''), 'http-coding'],
    ['no size', chunked('\r\n'), 'http-chunk'],
    ['a size that is no number', chunked('g\r\n'), 'http-chunk'],
    ['a size with a prefix', chunked('0x5\r\n'), 'http-chunk'],
    ['a negative size', chunked('-1\r\n'), 'http-chunk'],
    ['a size too long', chunked('000000001\r\n'), 'http-chunk'],
    ['a size with a bare LF', chunked('1\na'), 'http-chunk'],
    ['a size with a bare CR', chunked('1\ra'), 'http-chunk'],
    ['a chunk longer than its size', chunked('1\r\nab'), 'http-chunk'],
    ['a chunk that ends with a bare LF', chunked('1\r\na\n'), 'http-chunk'],
    ['a control character in an extension', chunked('1;\0\r\n'), 'http-chunk'],
    ['a size with something behind its blanks', chunked('1 a\r\n'), 'http-chunk'],
    ['endless blanks behind a size', chunked(`1${' '.repeat(5000)}`), 'http-chunk'],
    ['an empty length', answer(['content-length:']), 'http-length'],
    ['an empty coding', answer(['transfer-encoding:']), 'http-coding'],
    ['a bad length in an interim answer', text('HTTP/1.1 100 Continue', 'content-length: x', '', ''), 'http-length'],
    ['an interim answer with a body', text('HTTP/1.1 100 Continue', 'content-length: 1', '', ''), 'http-interim'],
    ['an endless extension', chunked(`1;${'x'.repeat(5000)}`), 'http-chunk'],
    ['extensions that outweigh the body', chunked(`1;${'x'.repeat(200)}\r\na\r\n`.repeat(50)), 'http-chunk'],
    ['a trailer without a colon', chunked('0\r\nabc\r\n\r\n'), 'http-header'],
    ['endless trailers', chunked(`0\r\n${'a: b\r\n'.repeat(300)}`), 'http-headers-many'],
    ['a huge trailer', chunked(`0\r\na: ${'b'.repeat(20_000)}`), 'http-headers-too-large'],
    ['257 fields', answer(Array.from({ length: 257 }, (_, at) => `f${at}: x`)), 'http-headers-many'],
    ['a head of 17 KiB', answer([`a: ${'b'.repeat(17 * 1024)}`]), 'http-headers-too-large'],
    ['a line without an end', Buffer.from(`HTTP/1.1 200 ${'a'.repeat(17 * 1024)}`), 'http-headers-too-large'],
  ];
  for (const [name, bytes, reason] of cases) {
    for (const cuts of [[bytes.length], [1], [2, 5]]) {
      const seen = read(bytes, { cuts });
      assert.deepEqual([seen.fault, seen.done], [reason, false], `${name}, ${cuts[0]} bytes at a time`);
    }
  }
});

test('just within the limits: 256 fields, 16 KiB of head, extensions that the body pays for', () => {
  assert.equal(read(answer([...Array.from({ length: 255 }, (_, at) => `f${at}: x`), 'content-length: 0'])).done, true);
  const rest = 16 * 1024 - head('content-length: 0', 'a: ').length;
  const full = answer(['content-length: 0', `a: ${'b'.repeat(rest)}`]);
  assert.equal(full.length, 16 * 1024);
  assert.equal(read(full, { cuts: [1000] }).done, true);
  assert.equal(read(answer(['content-length: 0', `a: ${'b'.repeat(rest + 1)}`])).fault, 'http-headers-too-large');
  const chunk = `64;${'x'.repeat(90)}\r\n${'a'.repeat(100)}\r\n`;
  assert.equal(read(answer(['transfer-encoding: chunked'], `${chunk.repeat(500)}0\r\n\r\n`)).body.length, 50_000);
});

test('a parser that is halted stops behind the piece that halted it', () => {
  const pieces: string[] = [];
  const parser = new ResponseParser(
    {
      head: () => {},
      body(chunk) {
        pieces.push(chunk.toString());
        parser.halt();
      },
    },
    false,
  );
  parser.begin(false);
  const bytes = answer(['transfer-encoding: chunked'], '1\r\na\r\n1\r\nb\r\n0\r\n\r\n');
  let at = parser.execute(bytes, 0, bytes.length);
  assert.deepEqual(pieces, ['a']);
  assert.equal(parser.execute(bytes, at, bytes.length), at, 'still');
  parser.resume();
  at = parser.execute(bytes, at, bytes.length);
  assert.deepEqual([pieces, parser.done], [['a', 'b'], false]);
  parser.resume();
  assert.equal(parser.execute(bytes, at, bytes.length), bytes.length);
  assert.equal(parser.done, true);
});

const field = fc.tuple(fc.stringMatching(/^[A-Za-z-]{1,12}$/), fc.stringMatching(/^[\x20-\x7e]{0,30}$/));
const fieldsOf = fc
  .array(field, { maxLength: 6 })
  .map((list) =>
    list
      .filter(([name]) => !/^(content-length|transfer-encoding|connection)$/i.test(name))
      .map(([name, value]) => `${name}: ${value}`),
  );
const piece = fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const wellFormed = fc
  .record({
    interim: fc.nat({ max: 2 }),
    fields: fieldsOf,
    pieces: fc.array(piece, { maxLength: 5 }),
    kind: fc.constantFrom('length', 'chunked', 'close'),
    extension: fc.constantFrom('', ';a', ';a="b c"', ' ;x'),
    trailers: fc.constantFrom('', 'a: b\r\n'),
  })
  .map(({ interim, fields, pieces, kind, extension, trailers }) => {
    const body = pieces.join('');
    const chunks = pieces.map((part) => `${part.length.toString(16)}${extension}\r\n${part}\r\n`).join('');
    const wire = kind === 'chunked' ? `${chunks}0${extension}\r\n${trailers}\r\n` : body;
    const framing = { length: [`Content-Length: ${body.length}`], chunked: ['Transfer-Encoding: chunked'], close: [] };
    const before = 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(interim);
    return { bytes: Buffer.from(before + head(...fields, ...framing[kind]) + wire, 'latin1'), body, kind };
  });
const cutting = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 });

test('however the bytes are cut, the answer is the same and whole', () => {
  fc.assert(
    fc.property(wellFormed, cutting, ({ bytes, body, kind }, cuts) => {
      const whole = read(bytes, { ends: true });
      assert.deepEqual([whole.fault, whole.done, whole.body], ['', true, body]);
      assert.equal(whole.reusable, kind !== 'close');
      assert.deepEqual(read(bytes, { ends: true, cuts }), whole);
      assert.deepEqual(read(bytes, { ends: true, cuts: [1] }), whole);
    }),
    { numRuns: 300 },
  );
});

test('however the bytes are cut, what is broken breaks in the same place', () => {
  const damage = fc.record({
    at: fc.nat(),
    drop: fc.nat({ max: 3 }),
    put: fc.oneof(
      fc.constantFrom('\r', '\n', '\r\n', '\0', ' ', ':', '0', '-', '\r\n\r\n', 'chunked'),
      fc.uint8Array({ maxLength: 3 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    ),
  });
  fc.assert(
    fc.property(wellFormed, fc.array(damage, { minLength: 1, maxLength: 3 }), cutting, ({ bytes }, damages, cuts) => {
      let wire = bytes.toString('latin1');
      for (const { at, drop, put } of damages) {
        const where = at % (wire.length + 1);
        wire = wire.slice(0, where) + put + wire.slice(where + drop);
      }
      const damaged = Buffer.from(wire, 'latin1');
      const whole = read(damaged, { ends: true });
      assert.deepEqual(read(damaged, { ends: true, cuts }), whole);
      assert.deepEqual(read(damaged, { ends: true, cuts: [1] }), whole);
    }),
    { numRuns: 500 },
  );
});

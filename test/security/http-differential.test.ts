/**
 * Compares the hub's own HTTP response parser with llhttp over mutated responses: the same message, status and body, or
 * a refusal by ours. A difference that is intended has a name, a reason and an example in `INTENDED`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ResponseParser } from '../../src/net/_http-wire.ts';
import { createLlhttp, type ParsedResponse } from '../support/llhttp.ts';
import { measured, scaled } from '../support/measured.ts';
import { mutated, type Random, randomFrom } from '../support/mutation.ts';

const COUNT = scaled({ ci: 20_000, long: 1_000_000 });
const SEED = Number(process.env.MCPHUB_SEED ?? 20_261_129);

/** Responses to mutate: each framing, with surplus bytes behind some. */
const SEEDS: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"id":1234}',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;name=value\r\nbody\r\n0\r\nTrailer: x\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 204 No Content\r\nServer: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n',
  'HTTP/1.1 404 Not Found\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nnoo',
  'HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nMcp-Session-Id: 0123\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n',
];

/** Pieces that matter to a parser; one of them replaces or follows bytes of a seed. */
const PIECES: readonly string[] = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '0',
    '00',
    '-1',
    '+5',
    '0x5',
    'ffffffff',
    'fffffffff',
    '99999999999999999',
  ],
  ...[
    '\r\n\r\n',
    '\n\n',
    '\r\r\n',
    ' \r\n',
    '\r\n ',
    '\r\n\t',
    '"',
    '\\',
    '\x7f',
    '\x80',
    '\xff',
    'HTTP/1.1 200 OK\r\n',
    'HTTP/2.0',
    'HTTP/1.2',
  ],
  ...[
    'Content-Length: 5\r\n',
    'Content-Length : 5\r\n',
    'content-length:5\r\n',
    'Content-Length: 5, 6\r\n',
    'Content-Length:\r\n',
    'Content-Length: 5 5\r\n',
  ],
  ...[
    'Transfer-Encoding: chunked\r\n',
    'Transfer-Encoding: gzip, chunked\r\n',
    'Transfer-Encoding: chunked, chunked\r\n',
    'Transfer-Encoding: identity\r\n',
  ],
  ...[
    'Transfer-Encoding:\tchunked\r\n',
    'Transfer-Encoding: chunked;q=1\r\n',
    'Transfer_Encoding: chunked\r\n',
    'transfer-encoding: CHUNKED\r\n',
  ],
  ...[
    'Connection: close\r\n',
    'Connection: upgrade\r\nUpgrade: h2c\r\n',
    'Trailer: x\r\n',
    '0\r\n\r\n',
    '1\r\nx\r\n',
    '5\r\nhello\r\n',
    ';ext="a\r\nb"',
  ],
  ...['100', '101', '199', '204', '304', '999', '099', '1000', '20'],
];

function response(random: Random): Buffer {
  let text = mutated(random.pick(SEEDS), PIECES, random);
  // Half of the mutations go to line starts, where fields are.
  if (random.below(2) === 0) {
    const lines = text.split('\r\n');
    lines.splice(1 + random.below(lines.length), 0, random.pick(PIECES).replace(/\r\n$/, ''));
    text = lines.join('\r\n');
  }
  return Buffer.from(text, 'latin1');
}

/** Parses with the hub's parser, cut into pieces of `cut` bytes. */
function parsedByOurs(bytes: Buffer, { bodiless, ends, cut }: { bodiless: boolean; ends: boolean; cut: number }) {
  let status = 0;
  let body = '';
  let at = 0;
  const parser = new ResponseParser(
    {
      head(code) {
        status = code;
      },
      body(chunk) {
        body += chunk.toString('latin1');
      },
    },
    false,
  );
  parser.begin(bodiless);
  try {
    while (at < bytes.length && !parser.done)
      at += parser.execute(bytes.subarray(at, at + cut), 0, Math.min(cut, bytes.length - at));
    if (ends && !parser.done) parser.finish();
  } catch (fault) {
    const { detail } = fault as { detail?: { reason?: string } };
    assert.ok(detail?.reason, `a fault without a reason: ${String(fault)}`);
    return { outcome: 'refused', status, body, bytes: at, reason: detail.reason } as const;
  }
  return {
    outcome: parser.done ? 'done' : 'more',
    status,
    body,
    bytes: at,
    reason: '',
    reusable: parser.reusable,
  } as const;
}

type Ours = ReturnType<typeof parsedByOurs>;

interface Intended {
  readonly why: string;
  /** A response that differs in this way. */
  readonly example: string;
  readonly applies: (ours: Ours, theirs: ParsedResponse, text: string) => boolean;
}

/** Ours reads on or ends where llhttp refuses or reads otherwise, on purpose. */
const INTENDED: Readonly<Record<string, Intended>> = {
  'unfinished head': {
    why: 'Ours judges lines and lengths when they are complete, llhttp byte by byte; completed, the head is refused by ours too.',
    example: 'HTTP/1.1 200 OK\r\nContent-Length: y',
    applies: (ours, theirs, text) =>
      ours.outcome === 'more' &&
      theirs.outcome === 'refused' &&
      parsedByOurs(Buffer.from(`${text}\r\n\r\n`, 'latin1'), { bodiless: false, ends: false, cut: 64 }).outcome ===
        'refused',
  },
  'chunk extension': {
    why: 'Ours skips an extension up to the end of its line, whatever it is but a control character (RFC 9112, section 7.1.1).',
    example: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0;a=,\r\n\r\n',
    applies: (_ours, theirs) => /chunk extension/.test(theirs.reason),
  },
  'repeated equal length': {
    why: 'The same length several times is one length (RFC 9110, section 8.6).',
    example: 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx',
    applies: (ours, theirs, text) =>
      theirs.outcome === 'refused' &&
      /Content-Length/.test(theirs.reason) &&
      text
        .slice(0, ours.bytes)
        .split('\r\n\r\n')
        .every((head) => lengthsIn(head).every((length, _at, [first]) => /^\d+$/.test(length) && length === first)),
  },
  'close in an interim answer': {
    why: 'Connection of the final answer decides whether the connection is used again.',
    example: 'HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    applies: (_ours, theirs, text) => theirs.reason.startsWith('Data after') && /^HTTP\/1\.[01] 1\d\d/.test(text),
  },
  'length in a trailer': {
    why: 'Ours drops trailers without a look at their meaning, so that none can change the framing (RFC 9110, section 6.5.1).',
    example: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n',
    applies: (ours, theirs) =>
      theirs.reason === "Content-Length can't be present with Transfer-Encoding" && ours.body === theirs.body,
  },
  'tab behind the coding': {
    why: 'A tab is optional whitespace (RFC 9110, section 5.6.3); llhttp takes it for a part of the name and reads until the connection ends.',
    example: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n',
    applies: (_ours, _theirs, text) => /^transfer-encoding:[ \t]*chunked[ \t]*\t[ \t]*\r$/im.test(text),
  },
  'blanks behind a chunk size': {
    why: 'Blanks before an extension are parsed and dropped (RFC 9112, section 7.1.1); some servers pad every size.',
    example: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0 \r\n\r\n',
    applies: (_ours, theirs, text) =>
      theirs.reason === 'Invalid character in chunk size' && /[0-9a-f][ \t]*$/i.test(text.slice(0, theirs.bytes)),
  },
  'length beside chunked': {
    why: 'The coding wins and the connection is not used again (RFC 9112, section 6.3).',
    example: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    applies: (ours, theirs) =>
      theirs.reason === "Transfer-Encoding can't be present with Content-Length" &&
      'reusable' in ours &&
      !ours.reusable,
  },
};

/** Values of the Content-Length fields, lists split. */
function lengthsIn(text: string): string[] {
  return [...text.matchAll(/^content-length:([^\r\n]*)/gim)].flatMap(([, list = '']) =>
    list.split(',').map((value) => value.trim()),
  );
}

function differs(ours: Ours, theirs: ParsedResponse): boolean {
  if (ours.outcome === 'refused') return false;
  if (ours.outcome !== theirs.outcome || ours.status !== theirs.status) return true;
  return ours.body !== theirs.body || (ours.outcome === 'done' && ours.bytes !== theirs.bytes);
}

test(`reads ${COUNT} mutated responses as llhttp does, or refuses them`, { timeout: 1_200_000 }, (t) => {
  const random = randomFrom(SEED);
  const parse = createLlhttp();
  const seen = new Map<string, number>();
  let refused = 0;
  let done = 0;
  const differences: string[] = [];
  let unexplained = 0;
  for (let turn = 0; turn < COUNT; turn += 1) {
    const bytes = response(random);
    const how = { bodiless: random.below(10) === 0, ends: random.below(2) === 0 };
    const ours = parsedByOurs(bytes, { ...how, cut: random.below(3) === 0 ? 1 + random.below(9) : bytes.length });
    if (ours.outcome === 'refused') refused += 1;
    if (ours.outcome === 'done') done += 1;
    const theirs = parse(bytes, how);
    if (!differs(ours, theirs)) continue;
    const text = bytes.toString('latin1');
    const name = Object.entries(INTENDED).find(([, { applies }]) => applies(ours, theirs, text))?.[0];
    if (name !== undefined) seen.set(name, (seen.get(name) ?? 0) + 1);
    else unexplained += 1;
    if (name === undefined && differences.length < 10)
      differences.push(
        `${JSON.stringify(text)} ${JSON.stringify(how)}\n  ours   ${JSON.stringify(ours)}\n  llhttp ${JSON.stringify(theirs)}`,
      );
  }
  t.diagnostic(
    `${done} complete, ${refused} refused; intended differences: ${JSON.stringify(Object.fromEntries(seen))}`,
  );
  if (differences.length > 0) t.diagnostic(`seed ${SEED}:\n${differences.join('\n')}`);
  assert.ok(done > COUNT / 20 && refused > COUNT / 20, 'the mutations reach both ends');
  const what = `responses read otherwise than by llhttp and not on purpose, of ${COUNT} with the seed ${SEED}`;
  measured({ promise: 'P11', what, value: unexplained, unit: '', strict: 0 });
});

for (const [name, { why, example, applies }] of Object.entries(INTENDED)) {
  test(`differs from llhttp on purpose: ${name}`, () => {
    const bytes = Buffer.from(example, 'latin1');
    const ours = parsedByOurs(bytes, { bodiless: false, ends: false, cut: bytes.length });
    const theirs = createLlhttp()(bytes, { bodiless: false, ends: false });
    assert.ok(differs(ours, theirs) && applies(ours, theirs, example), why);
  });
}

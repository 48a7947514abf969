import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ClientNotificationSchema,
  ClientRequestSchema,
  ServerNotificationSchema,
  ServerRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { HubError } from '../model/errors.ts';
import { isRefusal, Refusal } from '../model/outcome.ts';
import { CAPABILITY, initializeResult, readInitialize, readInitializeResult } from './era-2025/initialize.ts';
import { VERSIONS_2025, versionFromHeader } from './era-2025/versions.ts';
import { LineSplitter } from './lines.ts';
import { methodRow } from './methods.ts';
import { scanCallParams, scanProgress, scanRefParams } from './scan.ts';
import { SseDecoder, type SseEvent, sseComment, sseEvent } from './sse.ts';
import { callParamsFor, refusalFrame, replaceSpans, requestFrame, resultFrame } from './write.ts';

/** Returns the CPU time of this thread, so that other processes do not distort the result. */
function cpuMs(): number {
  return process.threadCpuUsage().user / 1000;
}

/** Cuts bytes at the given offsets, as a socket might. */
function chunked(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, at) => bytes.subarray(from, places[at] ?? bytes.length));
}

test('returns complete lines for any chunk sizes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 50 }).map((text) => text.replace(/[\r\n]/g, ''))),
      fc.array(fc.nat(500)),
      fc.boolean(),
      (lines, cuts, crlf) => {
        const splitter = new LineSplitter(1000);
        const out: string[] = [];
        for (const chunk of chunked(Buffer.from(lines.map((line) => line + (crlf ? '\r\n' : '\n')).join('')), cuts)) {
          splitter.push(chunk);
          for (let line = splitter.next(); line; line = splitter.next()) out.push(line.toString());
        }
        assert.deepEqual(
          out,
          lines.filter((line) => line !== ''),
        );
        assert.equal(splitter.heldBytes, 0);
      },
    ),
  );
});

test('reads a line of 9 MB in small pieces in linear time', () => {
  const piece = Buffer.alloc(65_536, 0x78);
  const splitter = new LineSplitter(16_000_000);
  const born = cpuMs();
  for (let i = 0; i < 140; i += 1) {
    splitter.push(piece);
    assert.equal(splitter.next(), undefined);
  }
  splitter.push(Buffer.from('\n'));
  assert.equal(splitter.next()?.length, 140 * 65_536);
  assert.ok(cpuMs() - born < 200, `${cpuMs() - born} ms`);
});

test('detects an endless line at its limit', () => {
  const splitter = new LineSplitter(1000);
  splitter.push(Buffer.alloc(1001, 0x78));
  assert.equal(splitter.next(), undefined);
  assert.equal(splitter.overlong, true);
});

test('decodes encoded events for any chunk sizes and line ends', () => {
  const line = fc.string({ maxLength: 30 }).map((text) => text.replace(/[\r\n]/g, ''));
  fc.assert(
    fc.property(
      fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 6 }),
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.array(fc.nat(600)),
      (events, lineEnd, cuts) => {
        const text = events
          .map((data, at) => `: note\nid: ${at}\n${sseEvent({ event: 'message', data: Buffer.from(data.join('\n')) })}`)
          .join('')
          .replace(/\n/g, lineEnd);
        const out: SseEvent[] = [];
        const decoder = new SseDecoder(10_000, (event) => out.push(event));
        for (const chunk of chunked(Buffer.from(text), cuts)) decoder.push(chunk);
        assert.deepEqual(
          out.map((event) => [event.id, event.data.toString()]),
          events.map((data, at) => [String(at), data.join('\n')]),
        );
      },
    ),
  );
});

test('ends the stream with a named error when one event exceeds its limit', () => {
  const decoder = new SseDecoder(100, () => {});
  assert.throws(
    () => decoder.push(Buffer.from(`data: ${'x'.repeat(200)}`)),
    (fault) => fault instanceof HubError && fault.code === 'upstream-too-large',
  );
  const drip = new SseDecoder(100, () => {});
  assert.throws(() => {
    for (let i = 0; i < 50; i += 1) drip.push(Buffer.from('data: xxxxx\n'));
  }, HubError);
  const comments = new SseDecoder(100, () => {});
  for (let i = 0; i < 1000; i += 1) comments.push(Buffer.from(': keep-alive comment\n\n'));
});

test('keeps every byte of ids and payloads in frames', () => {
  assert.equal(
    resultFrame(Buffer.from('-0.50'), Buffer.from('{ "a" : 1 }')).toString(),
    '{"jsonrpc":"2.0","id":-0.50,"result":{ "a" : 1 }}',
  );
  assert.equal(requestFrame(7, 'tools/list', undefined).toString(), '{"jsonrpc":"2.0","id":7,"method":"tools/list"}');
  const frame = JSON.parse(
    refusalFrame(Buffer.from('"x"'), new Refusal('overloaded', 'gone', { server: 's', phase: 'connect' })).toString(),
  );
  assert.deepEqual(frame, {
    jsonrpc: '2.0',
    id: 'x',
    error: {
      code: -32005,
      message: 'gone',
      data: { code: 'overloaded', retryable: true, server: 's', phase: 'connect' },
    },
  });
});

test('changes only the replaced spans', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (before, inside, after, put) => {
      const [a, b, c] = [Buffer.from(before), Buffer.from(inside), Buffer.from(after)];
      const out = replaceSpans(Buffer.concat([a, b, c]), [
        { at: a.length, end: a.length + b.length, with: Buffer.from(put) },
      ]);
      assert.equal(out.toString(), Buffer.concat([a, Buffer.from(put), c]).toString());
    }),
  );
});

test('sends a call with the native name and the hub’s token, and leaves all else unchanged', () => {
  for (const params of [
    '{"name":"srv_echo","arguments":{"big":12345678901234567890,"b":1,"b":2},"_meta":{"progressToken":"mine","k":[1]}}',
    '{"_meta":{"progressToken":"mine","k":[1]},"arguments":{"big":12345678901234567890,"b":1,"b":2},"name":"srv_echo"}',
  ]) {
    const bytes = Buffer.from(`xx${params}yy`);
    const span = { at: 2, end: 2 + params.length };
    const call = scanCallParams({ bytes, params: span, inParams: undefined });
    assert.ok(!isRefusal(call));
    assert.equal(
      callParamsFor(bytes, span, call, Buffer.from('"echo"'), 42).toString(),
      params.replace('"srv_echo"', '"echo"').replace('"mine"', '42'),
    );
    assert.equal(
      callParamsFor(bytes, span, call, Buffer.from('"echo"'), undefined).toString(),
      params.replace('"srv_echo"', '"echo"'),
    );
  }
});

test('replaces only the token when the name stays, and finds the name of a reference', () => {
  const text = '{"uri":"a://b","_meta":{"progressToken":"mine"}}';
  const bytes = Buffer.from(text);
  const span = { at: 0, end: bytes.length };
  const progress = scanProgress({ bytes, params: span, inParams: undefined });
  assert.ok(!isRefusal(progress));
  assert.equal(callParamsFor(bytes, span, progress, undefined, 42).toString(), text.replace('"mine"', '42'));
  const completion = Buffer.from(
    '{"_meta":{"progressToken":1},"ref":{"uri":"a://b","type":"ref/resource"},"argument":{}}',
  );
  const whole = { at: 0, end: completion.length };
  const call = scanRefParams({ bytes: completion, params: whole, inParams: undefined });
  assert.ok(!isRefusal(call));
  assert.deepEqual([call.of, call.name, call.progressToken], ['resource', 'a://b', '1']);
  assert.equal(
    callParamsFor(completion, whole, call, Buffer.from('"c://d"'), 7).toString(),
    '{"_meta":{"progressToken":7},"ref":{"uri":"c://d","type":"ref/resource"},"argument":{}}',
  );
});

const BITS = CAPABILITY.roots | CAPABILITY.elicitation | CAPABILITY.elicitationUrl;

test('reads initialize leniently and answers with a supported date', () => {
  const hello = (params: unknown) => readInitialize(Buffer.from(JSON.stringify(params)));
  for (const date of ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    const read = hello({ protocolVersion: date });
    assert.ok(!isRefusal(read) && read.version === date);
  }
  for (const date of ['2026-07-28', '1.0', '9999-01-01', undefined, 7]) {
    const read = hello({
      protocolVersion: date,
      clientInfo: null,
      capabilities: { elicitation: { url: {} }, roots: {} },
    });
    assert.ok(
      !isRefusal(read) && read.version === '2025-11-25' && read.clientName === '' && read.capabilityBits === BITS,
    );
  }
  const answer = readInitializeResult(
    initializeResult({
      version: '2025-06-18',
      capabilities: { tools: {} },
      instructions: 'do',
      serverName: 's',
      serverVersion: '1',
    }),
  );
  assert.ok(!isRefusal(answer) && answer.instructions === 'do' && answer.version === '2025-06-18');
  assert.ok(isRefusal(readInitializeResult(Buffer.from('[]'))));
});

/** Parses server-sent events as the standard describes them, without regard to speed. */
function eventsIn(text: string): [event: string, id: string | undefined, data: string][] {
  const out: [string, string | undefined, string][] = [];
  let [event, data, hasId, id] = ['', [] as string[], false, undefined as string | undefined];
  const lines = text.split(/\r\n|\r|\n/);
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data.length > 0 || hasId) out.push([event || 'message', id, data.join('\n')]);
      [event, data, hasId] = ['', [], false];
      continue;
    }
    const [, name, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (name === 'data') data.push(value);
    else if (name === 'event') event = value;
    else if (name === 'id') [id, hasId] = [value, true];
  }
  return out;
}

test('reads a stream as the standard describes, with any line ends and chunk sizes', () => {
  const line = fc.constantFrom(
    'data: a',
    'data:b',
    'data',
    'data: ',
    'id: 7',
    'event: e',
    ': c',
    '',
    '',
    'x: y',
    `data: ${'z'.repeat(30)}`,
  );
  const end = fc.constantFrom('\n', '\r', '\r\n');
  fc.assert(
    fc.property(fc.array(fc.tuple(line, end)), fc.array(fc.nat(400)), fc.boolean(), (lines, cuts, eachByte) => {
      const text = lines.flat().join('');
      const bytes = Buffer.from(text);
      const out: [string, string | undefined, string][] = [];
      const decoder = new SseDecoder(10_000, (event) => out.push([event.event, event.id, event.data.toString()]));
      const pieces = eachByte ? [...bytes].map((byte) => Buffer.from([byte])) : chunked(bytes, cuts);
      for (const piece of pieces) decoder.push(piece);
      assert.deepEqual(out, eventsIn(text));
    }),
    { numRuns: 500 },
  );
});

test('reads hostile streams in linear time: a million line ends, a million pieces', () => {
  const born = cpuMs();
  new SseDecoder(1000, () => {}).push(Buffer.alloc(1_000_000, 0x0d));
  const decoder = new SseDecoder(2_000_000, () => {});
  const splitter = new LineSplitter(2_000_000);
  const letter = Buffer.from('x');
  for (let i = 0; i < 1_000_000; i += 1) {
    decoder.push(letter);
    splitter.push(letter);
    splitter.next();
  }
  splitter.push(Buffer.from('\n'));
  assert.equal(splitter.next()?.length, 1_000_000);
  assert.ok(cpuMs() - born < 5000, `${cpuMs() - born} ms`);
});

test('counts the data lines of one event together against its limit, and joins them by newlines', () => {
  const out: string[] = [];
  const decoder = new SseDecoder(200_000, (event) => out.push(event.data.toString()));
  const long = 'y'.repeat(20_000);
  decoder.push(Buffer.from(`data: ${long}\ndata:\ndata: b\ndata: ${long}\n\n`));
  assert.deepEqual(out, [`${long}\n\nb\n${long}`]);
  assert.throws(() => {
    for (let i = 0; i < 200_000; i += 1) decoder.push(Buffer.from('data:\n'));
  }, HubError);
});

test('never turns a comment into an event', () => {
  const out: SseEvent[] = [];
  new SseDecoder(100, (event) => out.push(event)).push(sseComment('x\n\ndata: y'));
  assert.deepEqual([out.length, sseComment().toString()], [0, ':\n\n']);
});

test('does not return a line above the limit, even when it comes in one chunk', () => {
  const splitter = new LineSplitter(10);
  splitter.push(Buffer.from(`short\n${'x'.repeat(11)}\nnext\n`));
  assert.equal(splitter.next()?.toString(), 'short');
  assert.equal(splitter.next(), undefined);
  assert.deepEqual([splitter.overlong, splitter.heldBytes], [true, 0]);
  splitter.push(Buffer.from('again\n'));
  assert.equal(splitter.next(), undefined);
});

test('returns a line within one chunk without a copy', () => {
  const chunk = Buffer.from('one\ntwo\n');
  const splitter = new LineSplitter(100);
  splitter.push(chunk);
  assert.equal(splitter.next()?.buffer, chunk.buffer);
  assert.equal(splitter.next()?.buffer, chunk.buffer);
});

test('replaces several spans in one pass and keeps everything between them', () => {
  const words = fc.array(fc.tuple(fc.string(), fc.string(), fc.string()), { maxLength: 8 });
  fc.assert(
    fc.property(words, (triples) => {
      let [text, expected] = ['', ''];
      const spans = triples.map(([before, inside, put]) => {
        const at = Buffer.byteLength(text + before);
        text += before + inside;
        expected += before + put;
        return { at, end: Buffer.byteLength(text), with: Buffer.from(put) };
      });
      assert.equal(replaceSpans(Buffer.from(`${text}.`), spans).toString(), `${expected}.`);
    }),
  );
});

test('reads initialize from its text: cuts long names between letters, ignores wrong types and skips megabytes', () => {
  const read = (params: unknown) => {
    const hello = readInitialize(Buffer.from(JSON.stringify(params)));
    assert.ok(!isRefusal(hello));
    return hello;
  };
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 150, maxLength: 400 }), (name) => {
      const { clientName } = read({ clientInfo: { name } });
      assert.ok(name.startsWith(clientName) && Buffer.byteLength(clientName) <= 200);
      assert.ok(clientName.length > 30);
    }),
  );
  const strange = read({ protocolVersion: [], clientInfo: { name: 5, version: null }, capabilities: { roots: true } });
  assert.deepEqual(strange, { version: '2025-11-25', clientName: '', clientVersion: '', capabilityBits: 0 });
  const large = Buffer.from(`{"clientInfo":{"icons":["${'x'.repeat(4_000_000)}"],"name":"${'y'.repeat(4_000_000)}"}}`);
  const born = cpuMs();
  assert.ok(!isRefusal(readInitialize(large)));
  assert.ok(cpuMs() - born < 50, `${cpuMs() - born} ms`);
  const long = readInitializeResult(
    Buffer.from(
      JSON.stringify({ protocolVersion: '2025-06-18', instructions: '\n'.repeat(100_000), capabilities: [] }),
    ),
  );
  assert.ok(!isRefusal(long) && long.instructions.length <= 16_384 && long.instructions.length > 8000);
  assert.deepEqual(!isRefusal(long) && long.capabilities, {});
});

test('accepts a missing version header and any supported date, and refuses others with the list of dates', () => {
  assert.deepEqual(VERSIONS_2025, ['2024-10-07', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']);
  for (const date of [...VERSIONS_2025, ' 2025-11-25 ']) assert.equal(versionFromHeader(date), date.trim());
  for (const nothing of [undefined, '']) assert.equal(versionFromHeader(nothing), undefined);
  for (const other of ['2026-07-28', '1.0', 'x'.repeat(10_000)]) {
    const refusal = versionFromHeader(other);
    assert.ok(isRefusal(refusal) && refusal.code === 'invalid-request' && refusal.message.length < 200);
  }
});

test('lists every method of the 2025 revisions with its kind and its sender', () => {
  const schemas = [
    [ClientRequestSchema, 'request', 'client'],
    [ServerRequestSchema, 'request', 'server'],
    [ClientNotificationSchema, 'notification', 'client'],
    [ServerNotificationSchema, 'notification', 'server'],
  ] as const;
  for (const [schema, kind, from] of schemas) {
    for (const option of schema.options) {
      const method = option.shape.method.value;
      const row = methodRow(method);
      assert.ok(row && row.kind === kind && (row.from === from || row.from === 'both'), `${from} ${kind} ${method}`);
    }
  }
  assert.equal(methodRow('offerings/list')?.served, 'here');
  assert.equal(methodRow('toString'), undefined);
});

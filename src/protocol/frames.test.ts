import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HubError } from '../kernel/errors.ts';
import { isRefusal, Refusal } from '../kernel/outcome.ts';
import { initializeResult, readInitialize, readInitializeResult } from './era-2025/initialize.ts';
import { LineSplitter } from './lines.ts';
import { scanCallParams } from './scan.ts';
import { SseDecoder, type SseEvent, sseEvent } from './sse.ts';
import { callParamsFor, refusalFrame, replaceSpans, requestFrame, resultFrame } from './write.ts';

/** Cuts bytes at the given places, as a socket might. */
function chunked(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, at) => bytes.subarray(from, places[at] ?? bytes.length));
}

test('lines come out whole whatever the chunks are', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 50 }).map((text) => text.replace(/[\r\n]/g, ''))), fc.array(fc.nat(500)), fc.boolean(), (lines, cuts, crlf) => {
      const splitter = new LineSplitter(1000);
      const out: string[] = [];
      for (const chunk of chunked(Buffer.from(lines.map((line) => line + (crlf ? '\r\n' : '\n')).join('')), cuts)) {
        splitter.push(chunk);
        for (let line = splitter.next(); line; line = splitter.next()) out.push(line.toString());
      }
      assert.deepEqual(out, lines.filter((line) => line !== ''));
      assert.equal(splitter.heldBytes, 0);
    }),
  );
});

test('a nine megabyte line in small pieces costs linear time', () => {
  const piece = Buffer.alloc(65_536, 0x78);
  const splitter = new LineSplitter(16_000_000);
  const born = performance.now();
  for (let i = 0; i < 140; i += 1) {
    splitter.push(piece);
    assert.equal(splitter.next(), undefined);
  }
  splitter.push(Buffer.from('\n'));
  assert.equal(splitter.next()?.length, 140 * 65_536);
  assert.ok(performance.now() - born < 100, `${performance.now() - born} ms`);
});

test('an endless line is noticed at its ceiling', () => {
  const splitter = new LineSplitter(1000);
  splitter.push(Buffer.alloc(1001, 0x78));
  assert.equal(splitter.next(), undefined);
  assert.equal(splitter.overlong, true);
});

test('events survive encoding, any chunking and any line end', () => {
  const line = fc.string({ maxLength: 30 }).map((text) => text.replace(/[\r\n]/g, ''));
  fc.assert(
    fc.property(fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 6 }), fc.constantFrom('\n', '\r\n', '\r'), fc.array(fc.nat(600)), (events, lineEnd, cuts) => {
      const text = events.map((data, at) => `: note\nid: ${at}\n${sseEvent({ event: 'message', data: Buffer.from(data.join('\n')) })}`).join('').replace(/\n/g, lineEnd);
      const out: SseEvent[] = [];
      const decoder = new SseDecoder(10_000, (event) => out.push(event));
      for (const chunk of chunked(Buffer.from(text), cuts)) decoder.push(chunk);
      assert.deepEqual(out.map((event) => [event.id, event.data.toString()]), events.map((data, at) => [String(at), data.join('\n')]));
    }),
  );
});

test('one event beyond its ceiling ends the stream with a name', () => {
  const decoder = new SseDecoder(100, () => {});
  assert.throws(() => decoder.push(Buffer.from(`data: ${'x'.repeat(200)}`)), (fault) => fault instanceof HubError && fault.code === 'upstream-too-large');
  const drip = new SseDecoder(100, () => {});
  assert.throws(() => {
    for (let i = 0; i < 50; i += 1) drip.push(Buffer.from('data: xxxxx\n'));
  }, HubError);
  const comments = new SseDecoder(100, () => {});
  for (let i = 0; i < 1000; i += 1) comments.push(Buffer.from(': keep-alive comment\n\n'));
});

test('frames keep ids and payloads to the byte', () => {
  assert.equal(resultFrame(Buffer.from('-0.50'), Buffer.from('{ "a" : 1 }')).toString(), '{"jsonrpc":"2.0","id":-0.50,"result":{ "a" : 1 }}');
  assert.equal(requestFrame(7, 'tools/list', undefined).toString(), '{"jsonrpc":"2.0","id":7,"method":"tools/list"}');
  const frame = JSON.parse(refusalFrame(Buffer.from('"x"'), new Refusal('server-down', 'gone', { server: 's', phase: 'connect' })).toString());
  assert.deepEqual(frame, { jsonrpc: '2.0', id: 'x', error: { code: -32010, message: 'gone', data: { code: 'server-down', retryable: true, server: 's', phase: 'connect' } } });
});

test('splicing changes the spans and nothing else', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), fc.string(), (before, inside, after, put) => {
      const [a, b, c] = [Buffer.from(before), Buffer.from(inside), Buffer.from(after)];
      const out = replaceSpans(Buffer.concat([a, b, c]), [{ at: a.length, end: a.length + b.length, with: Buffer.from(put) }]);
      assert.equal(out.toString(), Buffer.concat([a, Buffer.from(put), c]).toString());
    }),
  );
});

test('a call goes up with the server’s own name and the hub’s token, in either order, all else untouched', () => {
  for (const params of ['{"name":"srv_echo","arguments":{"big":12345678901234567890,"b":1,"b":2},"_meta":{"progressToken":"mine","k":[1]}}', '{"_meta":{"progressToken":"mine","k":[1]},"arguments":{"big":12345678901234567890,"b":1,"b":2},"name":"srv_echo"}']) {
    const bytes = Buffer.from(`xx${params}yy`);
    const span = { at: 2, end: 2 + params.length };
    const call = scanCallParams(bytes, span);
    assert.ok(!isRefusal(call));
    assert.equal(callParamsFor(bytes, span, call, Buffer.from('"echo"'), 42).toString(), params.replace('"srv_echo"', '"echo"').replace('"mine"', '42'));
    assert.equal(callParamsFor(bytes, span, call, Buffer.from('"echo"'), undefined).toString(), params.replace('"srv_echo"', '"echo"'));
  }
});

test('initialize is read leniently and answered with a date that we speak', () => {
  const hello = (params: unknown) => readInitialize(Buffer.from(JSON.stringify(params)));
  for (const date of ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']) {
    const read = hello({ protocolVersion: date });
    assert.ok(!isRefusal(read) && read.version === date);
  }
  for (const date of ['2026-07-28', '1.0', '9999-01-01', undefined, 7]) {
    const read = hello({ protocolVersion: date, clientInfo: null, capabilities: { elicitation: { url: {} }, roots: {} } });
    assert.ok(!isRefusal(read) && read.version === '2025-11-25' && read.clientName === '' && read.capabilityBits === 13);
  }
  const answer = readInitializeResult(initializeResult({ version: '2025-06-18', capabilities: { tools: {} }, instructions: 'do', serverName: 's', serverVersion: '1' }));
  assert.ok(!isRefusal(answer) && answer.instructions === 'do' && answer.version === '2025-06-18');
  assert.ok(isRefusal(readInitializeResult(Buffer.from('[]'))));
});

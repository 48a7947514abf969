import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { isRefusal } from '../model/outcome.ts';
import { acceptsEventStream, headerValue, refuseCoding, refuseType } from './header-values.ts';

function request(headers: Record<string, string>): IncomingMessage {
  return { headers } as unknown as IncomingMessage;
}

test('finds event streams in Accept in any case, with parameters, and not with a weight of 0', () => {
  const yes = [
    'application/json, text/event-stream',
    'text/event-stream',
    'TEXT/EVENT-STREAM',
    'application/json;q=0.9,text/event-stream;q=0.1',
    'text/event-stream; charset=utf-8, application/json',
    'text/event-stream, text/event-stream',
    'application/json, text/event-stream,',
    'application/json, text/*',
    '*/*;q=0, text/event-stream;q=0.001',
  ];
  for (const accept of yes) assert.ok(acceptsEventStream({ accept }), accept);
  const no = [
    '*/*',
    'application/json',
    '',
    ',',
    'application/json, text/event-stream;q=0',
    'application/json, Text/Event-Stream; Q=0.000',
    'text/*, text/event-stream;q=0',
    'text/event-streams',
    'application/json; x="text/event-stream"',
  ];
  for (const accept of no) assert.ok(!acceptsEventStream({ accept }), accept);
  assert.ok(!acceptsEventStream({}));
});

test('takes a JSON body under any spelling of its type and names Content-Type where two types are said', () => {
  const judged = (type: string | undefined): string =>
    refuseType(request(type === undefined ? {} : { 'content-type': type }))?.code ?? 'fine';
  const fine = [
    'application/json',
    'Application/JSON; Charset="UTF-8"',
    'application/json, application/json',
    'application/json, application/json; charset=utf-8',
    'application/json,',
    'application/vnd.api+json',
    'application/json-rpc',
  ];
  for (const type of fine) assert.equal(judged(type), 'fine', type);
  for (const type of ['text/plain', '', ',', undefined, 'text/plain, text/plain', 'application/jsonx', 'text/json'])
    assert.equal(judged(type), 'media-type', type);
  for (const type of ['application/json, text/plain', 'text/plain, application/json', 'a/b, c/d'])
    assert.equal(judged(type), 'invalid-request', type);
});

test('returns one value of a header, however often it is said, and refuses different ones by name', () => {
  assert.equal(headerValue(request({ 'last-event-id': '1, 1' }), 'last-event-id'), '1');
  assert.equal(headerValue(request({ 'last-event-id': '' }), 'last-event-id'), undefined);
  assert.equal(headerValue(request({ 'last-event-id': ',' }), 'last-event-id'), undefined);
  assert.equal(headerValue(request({}), 'last-event-id'), undefined);
  const refusal = headerValue(request({ 'last-event-id': '1, 2' }), 'last-event-id');
  assert.ok(isRefusal(refusal));
  assert.equal(refusal.detail.header, 'Last-Event-Id');
});

// case: CL10
test('refuses every content coding but identity', () => {
  for (const coding of ['identity', 'Identity, identity', '', ','])
    assert.equal(refuseCoding(request({ 'content-encoding': coding })), undefined, coding);
  assert.equal(refuseCoding(request({})), undefined);
  for (const coding of ['gzip', 'br', 'x-gzip', 'zstd', 'deflate', 'gzip, identity', 'nonsense'])
    assert.equal(refuseCoding(request({ 'content-encoding': coding }))?.code, 'content-coding', coding);
});

import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { type Limits, limitsFrom } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import { Refusal } from '../model/outcome.ts';
import { createRefusalTraces } from './refusal-trace.ts';

type Refused = Extract<HubEvent, { type: 'request-refused' }>;

function rig(more: Partial<Limits> = {}) {
  const frozen = frozenRuntime();
  const events: Refused[] = []; // bounded by: one test
  frozen.runtime.bus.listen((fact) => {
    if (fact.type === 'request-refused') events.push(fact);
  });
  const traces = createRefusalTraces({ runtime: frozen.runtime, limits: { ...limitsFrom({}), ...more } });
  return { ...frozen, events, traces };
}

function responseTo(url: string, address = '192.0.2.1', headers: Record<string, string> = {}): ServerResponse {
  return { req: { method: 'POST', url, headers, socket: { remoteAddress: address } } } as unknown as ServerResponse;
}

const total = (events: readonly Refused[]): number => events.reduce((sum, { times }) => sum + times, 0);

test('an event names code, path without query, client, address and server', () => {
  const { traces, events } = rig();
  const response = responseTo('/mcp?key=secret', '192.0.2.7', { 'user-agent': 'cursor/1.2' });
  traces.refused(response, new Refusal('server-down', 'It is away.', { server: 'git' }));
  assert.deepEqual(events, [
    {
      ...{ type: 'request-refused', code: 'server-down', times: 1, address: '192.0.2.7', server: 'git' },
      ...{ message: 'It is away.', method: 'POST', path: '/mcp', client: 'cursor/1.2' },
    },
  ]);
});

test('texts of a client are cut to 200 printable characters', () => {
  const { traces, events } = rig();
  const evil = '\u001b[2J\u202e한\n';
  traces.refused(
    responseTo(`/${evil.repeat(500)}`, '::1', { 'user-agent': evil.repeat(500) }),
    new Refusal('not-found', evil.repeat(500)),
  );
  const [event] = events;
  assert.ok(event);
  for (const text of [event.path, event.client, event.message]) {
    assert.ok(text.length <= 200, `${text.length} characters`);
    assert.doesNotMatch(text, /[\p{Cc}\p{Cf}]/u);
  }
});

test('one address has a limit of its own for events, and what is left out is counted', () => {
  const { traces, events, advance } = rig({ refusalLinesPerAddress: 3 });
  const code = 'media-type';
  for (let times = 0; times < 50; times += 1) traces.refused(responseTo('/mcp'), new Refusal(code));
  assert.equal(events.length, 3);
  traces.refused(responseTo('/mcp', '192.0.2.2'), new Refusal(code));
  assert.equal(events.at(-1)?.address, '192.0.2.2');
  assert.equal(total(events), 51);
  traces.refused(responseTo('/mcp'), new Refusal('not-found'));
  advance(1100);
  assert.deepEqual([events.at(-1)?.code, events.at(-1)?.address, total(events)], ['not-found', '', 52]);
  advance(60_000);
  traces.refused(responseTo('/mcp'), new Refusal(code));
  assert.equal(events.at(-1)?.address, '192.0.2.1');
});

test('all addresses together have a limit', () => {
  const { traces, events, advance, runtime } = rig({ refusalLinesPerMinute: 20 });
  for (let at = 0; at < 10_000; at += 1)
    traces.unreadable(`10.0.${at >> 8}.${at & 255}`, new Refusal('http-malformed'));
  assert.equal(events.length, 20);
  advance(1100);
  assert.equal(total(events), 10_000);
  const row = runtime.ceilings.table().find(({ name }) => name === 'downstream.refusal-traces');
  assert.equal(row?.size, 4096);
});

test('the addresses of one IPv6 network share the limit of one address', () => {
  const { traces, events } = rig({ refusalLinesPerAddress: 3, refusalLinesPerMinute: 40 });
  for (let host = 1; host <= 100; host += 1)
    traces.refused(responseTo('/mcp', `2001:db8:0:1::${host.toString(16)}`), new Refusal('media-type'));
  assert.equal(events.length, 3);
  traces.refused(responseTo('/mcp', '2001:db8:0:2::1'), new Refusal('media-type'));
  assert.equal(events.at(-1)?.address, '2001:db8:0:2::1', 'others still get their lines');
});

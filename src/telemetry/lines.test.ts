/**
 * The form of log lines, what they never contain, and how often they repeat.
 * covers: P20
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HubError } from '../model/errors.ts';
import type { HubEvent } from '../model/events.ts';
import { ContainerLimits } from '../runtime/capped.ts';
import { levelOf, lineOf } from './event-lines.ts';
import { Figures } from './figures.ts';
import { LastEvents } from './last-events.ts';
import { createLog, type Log, levelFrom } from './log.ts';
import { faultText, masked } from './mask.ts';
import { Repeats } from './repeats.ts';
import { terminalLine } from './terminal-line.ts';

const KEY = `mcphub_${'0123456789abcdef'.repeat(4)}`;
const WALL_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

interface Desk {
  readonly log: Log;
  readonly lines: string[];
  nowMs: number;
}

function desk(options: { level?: string; person?: { colour: boolean } } = {}): Desk {
  const lines: string[] = [];
  const made: { log?: Log; lines: string[]; nowMs: number } = { lines, nowMs: 0 };
  made.log = createLog({
    runtime: { clock: { nowMs: () => made.nowMs, wallMs: () => WALL_MS }, ceilings: new ContainerLimits() },
    write: (line) => lines.push(line),
    level: levelFrom(options.level),
    person: options.person,
    base: { version: '1.2.3', role: 'hub', slot: 2 },
  });
  return made as Desk;
}

function call(
  more: Partial<Extract<HubEvent, { type: 'call-answered' }>> = {},
): Extract<HubEvent, { type: 'call-answered' }> {
  return {
    type: 'call-answered',
    requestId: 'r-1',
    method: 'tools/call',
    user: 'ada',
    ms: 12.6,
    bytes: 7,
    outcome: 'ok',
    ...more,
  };
}

test('writes an answered call as one JSON object with the standard fields', () => {
  const { log, lines } = desk();
  log.fact(call({ server: 'files', tool: 'read' }));
  assert.equal(lines.length, 1);
  assert.ok(lines[0]?.endsWith('}\n'));
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    level: 'info',
    time: '2026-01-02T03:04:05.006Z',
    service: 'mcphub',
    version: '1.2.3',
    role: 'hub',
    slot: 2,
    event: 'call-answered',
    req_id: 'r-1',
    method: 'tools/call',
    user: 'ada',
    upstream: 'files',
    tool: 'read',
    duration_ms: 13,
    bytes: 7,
    outcome: 'ok',
    msg: 'request completed',
  });
});

test('writes the hand-built line exactly as the table would, for any texts', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), fc.nat(5000), (user, tool, ms) => {
      const { log, lines } = desk();
      const fact = call({ user: masked(user), tool, ms });
      log.fact(fact);
      assert.equal(lines[0]?.indexOf('\n'), (lines[0]?.length ?? 0) - 1);
      const { fields, msg } = lineOf(fact);
      const { level, time, service, version, role, slot, event, ...said } = JSON.parse(lines[0] ?? '');
      assert.deepEqual(
        [level, time, service, version, role, slot, event],
        ['info', '2026-01-02T03:04:05.006Z', 'mcphub', '1.2.3', 'hub', 2, 'call-answered'],
      );
      assert.deepEqual(said, { ...JSON.parse(JSON.stringify(fields)), msg });
    }),
    { numRuns: 60 },
  );
});

test('writes what an operator follows at level info', () => {
  const { log, lines } = desk();
  log.fact({
    type: 'session-created',
    session: 's1',
    user: 'ada',
    client: 'cursor',
    version: '2025-06-18',
    path: '/mcp',
  });
  log.fact({ type: 'key-accepted', user: 'ada', keyName: 'laptop', keyPrefix: 'mcphub_1a2b3c4d' });
  log.fact(call({ method: 'tools/list' }));
  log.fact(call());
  const said = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    said.map(({ level }) => level),
    ['info', 'info', 'info', 'info'],
  );
  assert.match(String(said[0]?.msg), /^session created s1/);
  assert.equal(said[1]?.key_prefix, 'mcphub_1a2b3c4d');
  assert.equal(said[2]?.msg, 'tools/list answered');
  assert.equal(said[3]?.req_id, 'r-1');
});

test('leaves out lines below the level', () => {
  const said: HubEvent = { type: 'server-said', server: 's', line: 'hello' };
  for (const [level, count] of [
    ['debug', 1],
    ['info', 0],
    [undefined, 0],
    ['nonsense', 0],
  ] as const) {
    const { log, lines } = desk(level ? { level } : {});
    log.fact(said);
    assert.equal(lines.length, count, level);
  }
  const { log, lines } = desk({ level: 'warn' });
  log.fact(call());
  log.fact(call({ outcome: 'error', code: 'internal' }));
  assert.equal(lines.length, 1);
});

// finding: SR-L1
test('masks keys and tokens in any text', () => {
  const fault = new HubError('internal', {
    message: `no ${KEY}`,
    cause: new Error('Authorization: Bearer abc.def-ghi'),
  });
  const { log, lines } = desk({ level: 'debug' });
  log.fact({ type: 'task-faulted', task: 't', fault });
  log.fact({ type: 'server-said', server: 's', line: `got Bearer ${KEY} and basic dXNlcjpwYXNz` });
  log.fact({ type: 'wait-expired', label: 'dns', owner: KEY.toUpperCase() });
  log.fact(call({ tool: KEY, method: 'Bearer abcdefghijkl' }));
  const all = lines.join('');
  assert.doesNotMatch(all, /mcphub_[0-9a-f]{8}/i);
  assert.doesNotMatch(all, /abc\.def|dXNlcjpwYXNz|abcdefghijkl/);
  assert.match(all, /"stack":"/);
});

test('converts any thrown value to text', () => {
  const hostile = new Proxy(new Error('x'), {
    get() {
      throw new Error('no');
    },
  });
  assert.equal(faultText(hostile).message, 'an unreadable error');
  assert.equal(faultText(Object.create(null)).message, 'an unreadable error');
  assert.equal(faultText(undefined).message, 'undefined');
  assert.ok(masked('x'.repeat(1e6)).length < 5000);
});

test('writes a repeated warning once a second with the number left out', () => {
  const d = desk();
  const lost: HubEvent = { type: 'breaker-opened', cause: 'reset', server: 'a', ms: 10 };
  for (let n = 0; n < 100; n += 1) d.log.fact(lost);
  d.log.fact({ ...lost, server: 'b' });
  assert.equal(d.lines.length, 2);
  d.nowMs = 1000;
  d.log.sweep();
  assert.equal(d.lines.length, 3);
  assert.equal(JSON.parse(d.lines[2] ?? '').left_out, 99);
  d.nowMs = 2100;
  d.log.sweep();
  d.log.fact(lost);
  assert.equal(d.lines.length, 4);
  assert.equal(JSON.parse(d.lines[3] ?? '').left_out, undefined);
});

test('drops the oldest kinds of repeats above the limit', () => {
  const ceilings = new ContainerLimits();
  const repeats = new Repeats<number>({ nowMs: () => 0, wallMs: () => 0 }, ceilings);
  for (let n = 0; n < 10_000; n += 1) repeats.allows(`kind ${n}`, n);
  const [row] = ceilings.table();
  assert.ok(row && row.size <= row.max && row.max < 1000);
});

test('writes short lines for people, in which no external text moves the cursor', () => {
  const { log, lines } = desk({ level: 'debug', person: { colour: false } });
  log.fact({ type: 'server-said', server: 's', line: '\u001b[2J\r\nforged\u202e' });
  log.fact(call({ tool: 'read', server: 'files' }));
  const [said, called] = lines;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
  assert.doesNotMatch((said ?? '').trimEnd(), /[\u0000-\u001f\u202e]/);
  assert.match(called ?? '', /^\d\d:\d\d:\d\d info {2}hub {5}request completed .*upstream=files.*\n$/);
  const coloured = terminalLine({ level: 'warn', msg: 'x', fields: {}, role: 'hub', atMs: 0 }, true);
  assert.ok(coloured.includes('\u001b[33m'));
});

// finding: SR-A20
test('writes JSON lines without characters that a terminal interprets, with the same value', () => {
  const { log, lines } = desk({ level: 'debug' });
  const text = '\u001b[2J\u009b31m\u007f\u202e\u2028\u200f\u2066 é 가';
  log.fact({ type: 'server-said', server: 's', line: text });
  log.fact(call({ tool: text, server: 'files' }));
  log.fact(call({ outcome: 'error', code: 'upstream-protocol', why: text, server: 'files' }));
  assert.equal(lines.length, 3);
  for (const line of lines) assert.doesNotMatch(line.trimEnd(), /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u);
  const [said, called, failed] = lines.map((line) => JSON.parse(line));
  assert.ok(said.msg.includes(text));
  assert.equal(called.tool, text);
  assert.ok(failed.msg.includes(text));
});

test('counts by outcome, code and server, in a table of limited size', () => {
  const figures = new Figures(new ContainerLimits());
  figures.note(call());
  figures.note(call({ outcome: 'refused', code: 'overloaded' }));
  for (let n = 0; n < 5000; n += 1) figures.note(call({ server: `s${n}` }));
  const table = figures.table();
  assert.equal(table['calls.ok'], 5001);
  assert.equal(table['calls.refused'], 1);
  assert.equal(table['code.overloaded'], 1);
  assert.ok(Object.keys(table).length < 2000);
});

test('keeps the last events few and short, and not displaced by many of one kind', () => {
  let wallMs = WALL_MS;
  const last = new LastEvents({ nowMs: () => 0, wallMs: () => wallMs }, new ContainerLimits());
  last.note({ type: 'control-lost', reason: 'gone' }, levelOf, lineOf);
  for (let n = 0; n < 1000; n += 1) last.note({ type: 'wait-expired', label: 'dns', owner: 'x' }, levelOf, lineOf);
  assert.match(last.text(), /control-lost/);
  for (let n = 0; n < 50; n += 1) {
    wallMs += 2000;
    last.note(
      { type: 'server-was-lost', server: 's', code: 'internal', message: '⚡'.repeat(500), retryMs: 5, phase: 'start' },
      levelOf,
      lineOf,
    );
    last.note(call(), levelOf, lineOf);
  }
  assert.ok(Buffer.byteLength(last.text()) <= 1024);
  assert.ok(last.text().split('\n').length <= 10);
});

/**
 * Requests that arrive together are spread over turns of the event loop. The test controls clock and turns.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { createRuntime, systemRuntimeOptions } from '../runtime/runtime.ts';
import type { Arrived } from './connection.ts';
import { Pacing, resumeInTurn } from './pacing.ts';
import type { ReadPacing } from './read-pacing.ts';

interface Sent {
  readonly name: string;
  readonly owner: string;
  /** ms of work. */
  readonly costs?: number;
}

function rig(given: { connections: number; turnMs: number } = { connections: 1000, turnMs: 4 }) {
  const limits = { readTurnMs: 16, ...given };
  let nowMs = 1000;
  let afterInput: (() => void)[] = [];
  const late: number[] = [];
  const runtime = createRuntime({
    ...systemRuntimeOptions,
    clock: { nowMs: () => nowMs, wallMs: () => 0 },
    timers: {
      after: () => ({ [Symbol.dispose]() {} }),
      every: () => ({ [Symbol.dispose]() {} }),
      afterInput: (fn) => void afterInput.push(fn),
      runLate: (atMs) => void late.push(atMs),
    },
  });
  const pacing = new Pacing({ runtime, limits, keys: { shareOf: (authorization) => authorization ?? '' } });
  const started: string[] = [];

  function arrived({ name, owner, costs = 1 }: Sent): Arrived {
    const request = { url: name, headers: { authorization: owner }, socket: { destroyed: false } } as IncomingMessage;
    const handle = (): void => {
      started.push(name);
      nowMs += costs;
    };
    return { request, response: {} as ServerResponse, handle };
  }
  return {
    ...{ pacing, started, late, runtime, arrived },
    send(sent: Sent): Arrived {
      const one = arrived(sent);
      pacing.start(one);
      return one;
    },
    /** Does what Node does after the input of a turn; returns what was started. */
    endTurn(): string[] {
      const from = started.length;
      const callbacks = afterInput;
      afterInput = [];
      for (const callback of callbacks) callback();
      return started.slice(from);
    },
    pass(ms: number): void {
      nowMs += ms;
    },
    get isIdle(): boolean {
      return afterInput.length === 0;
    },
    /** Callbacks that run after the input of this turn. */
    get scheduled(): number {
      return afterInput.length;
    },
  };
}

/** Requests that are started before a turn is measured. */
const UNMEASURED = 8;

const numbered = (count: number, owner: string): Sent[] =>
  Array.from({ length: count }, (_, at) => ({ name: `${owner}${at}`, owner }));

test('requests are started as they arrive while the time of the turn lasts; the others wait for the next turns', () => {
  const hub = rig();
  for (const one of numbered(UNMEASURED, 'a')) hub.send(one);
  assert.equal(hub.isIdle, true, 'few requests schedule nothing');
  for (const one of numbered(10, 'b')) hub.send(one);
  assert.deepEqual(hub.started.slice(UNMEASURED), ['b0', 'b1', 'b2', 'b3']);
  assert.equal(hub.pacing.waiting, 6);
  // The input of this turn has used its time; the callbacks after it have their own.
  assert.deepEqual(hub.endTurn(), ['b4']);
  assert.deepEqual(hub.endTurn(), ['b5', 'b6', 'b7', 'b8']);
  assert.deepEqual(hub.endTurn(), ['b9']);
  assert.equal(hub.isIdle, true, 'nothing is scheduled when nothing waits');
  hub.send({ name: 'later', owner: 'a' });
  assert.equal(hub.started.at(-1), 'later');
});

test('a request that takes longer than a turn is started alone, and the turn after it starts the next', () => {
  const hub = rig();
  for (const one of numbered(UNMEASURED, 'a')) hub.send(one);
  for (const name of ['x', 'y', 'z']) hub.send({ name, owner: 'a', costs: 50 });
  assert.deepEqual(hub.started.slice(UNMEASURED), ['x']);
  assert.deepEqual(hub.endTurn(), ['y']);
  assert.deepEqual(hub.endTurn(), ['z']);
});

test('a turn schedules about as many callbacks as it has time for, and more when there was time for all of them', () => {
  const hub = rig();
  for (const one of numbered(UNMEASURED + 300, 'a')) hub.send(one);
  for (let turn = 0; turn < 4; turn += 1) {
    hub.endTurn();
    assert.ok(hub.scheduled >= 4 && hub.scheduled <= 10, `${hub.scheduled} callbacks, though 4 ms are enough for 4`);
  }
  const quick = rig();
  for (const one of numbered(UNMEASURED + 10, 'a')) quick.send(one);
  for (const one of numbered(300, 'b')) quick.send({ ...one, costs: 0 });
  for (let turn = 0; turn < 12; turn += 1) quick.endTurn();
  assert.equal(quick.pacing.waiting, 0, 'what costs nothing does not wait for long');
});

test('owners take turns: one that sent a hundred requests before does not delay the first of another', () => {
  const hub = rig();
  for (const one of numbered(100, 'a')) hub.send(one);
  for (const one of numbered(2, 'b')) hub.send(one);
  hub.endTurn();
  assert.deepEqual(hub.endTurn(), ['b0', 'a13', 'b1', 'a14']);
  let turns = 0;
  while (hub.pacing.waiting > 0 && turns < 100) {
    hub.endTurn();
    turns += 1;
  }
  assert.equal(new Set(hub.started).size, 102, 'each is started once');
});

test('a request whose client has gone is dropped when its turn comes', () => {
  const hub = rig();
  for (const one of numbered(UNMEASURED + 4, 'a')) hub.send(one);
  const gone = hub.send({ name: 'gone', owner: 'a' });
  hub.send({ name: 'next', owner: 'a' });
  Object.assign(gone.request.socket, { destroyed: true });
  assert.deepEqual(hub.endTurn(), ['next']);
  assert.equal(hub.pacing.waiting, 0);
});

// finding: SR-O1
test('late timers run before each request is started, urgent ones included', () => {
  const hub = rig();
  hub.send({ name: 'one', owner: 'a' });
  hub.send({ name: '/health', owner: 'a' });
  assert.deepEqual(hub.late, [1000, 1001]);
});

test('requests for health and heartbeat go first, up to a limit in each turn', () => {
  const hub = rig();
  for (const one of numbered(UNMEASURED + 6, 'a')) hub.send(one);
  for (const name of ['/health', '/probe']) {
    hub.send({ name, owner: 'a' });
    assert.equal(hub.started.at(-1), name);
  }
  const asked = hub.started.length;
  for (let count = 0; count < 100; count += 1) hub.send({ name: '/livez', owner: 'a', costs: 0 });
  assert.equal(hub.started.length - asked, 14, 'sixteen in one turn');
  assert.equal(hub.endTurn()[0], 'a12', 'the others wait behind who came before');
});

// finding: SR-A4
test('a flood of health questions from one address does not delay the question of another', () => {
  const { send, started, endTurn } = rig();
  for (let at = 0; at < 100; at += 1) send({ name: '/health', owner: 'crowd', costs: 0.5 });
  send({ name: '/readyz', owner: 'balancer' });
  assert.ok(!started.includes('/readyz'));
  while (!started.includes('/readyz') && endTurn().length > 0);
  assert.ok(started.includes('/readyz'));
  assert.ok(started.length <= 40, `${started.length} requests were started before it`);
});

test('other connections are held once requests have arrived for long in a turn, and released turn by turn', () => {
  const hub = rig();
  const seen: string[] = [];
  const reads = {
    held: 0,
    hold() {
      seen.push('hold');
      this.held = 2;
    },
    release() {
      if (this.held > 0) seen.push('release');
      this.held = Math.max(0, this.held - 1);
    },
  };
  hub.pacing.paceReads(reads as unknown as ReadPacing);
  for (const one of numbered(UNMEASURED + 6, 'a')) hub.send(one);
  assert.deepEqual(seen, [], 'the turn has lasted for 4 ms');
  hub.pass(12);
  for (const one of numbered(3, 'b')) hub.send(one);
  assert.deepEqual(seen, ['hold'], 'once in a turn');
  while (!hub.isIdle) hub.endTurn();
  assert.deepEqual(seen, ['hold', 'release', 'release']);
});

test('connections that end together are held like those that bring requests', () => {
  const hub = rig();
  let holds = 0;
  const reads = {
    held: 0,
    hold: () => {
      holds += 1;
    },
    release() {},
  };
  hub.pacing.paceReads(reads as unknown as ReadPacing);
  for (let count = 0; count <= UNMEASURED; count += 1) hub.pacing.noteEnd();
  hub.pass(16);
  hub.pacing.noteEnd();
  assert.equal(holds, 1);
});

test('a body that comes with its request goes on at once, one that comes later waits in turn', () => {
  const hub = rig();
  const quick = hub.send({ name: 'quick', owner: 'a' });
  resumeInTurn({ ...quick, handle: () => void hub.started.push('quick body') });
  assert.equal(hub.started.at(-1), 'quick body');
  hub.endTurn();
  for (const one of numbered(UNMEASURED + 10, 'b')) hub.send(one);
  resumeInTurn({ ...quick, handle: () => void hub.started.push('late body') });
  assert.notEqual(hub.started.at(-1), 'late body');
  hub.endTurn();
  assert.ok(hub.endTurn().includes('late body'));
});

test('a fault of a request that waited ends that request only', () => {
  const hub = rig();
  const faults: unknown[] = [];
  hub.runtime.bus.listen((fact) => faults.push(fact.type));
  for (const one of numbered(UNMEASURED + 4, 'a')) hub.send(one);
  const bad = hub.arrived({ name: 'bad', owner: 'a' });
  hub.pacing.start({
    ...bad,
    response: { destroy() {} } as unknown as ServerResponse,
    handle: () => {
      throw new Error('bad');
    },
  });
  hub.send({ name: 'good', owner: 'a' });
  hub.endTurn();
  assert.deepEqual(hub.endTurn(), ['good']);
  assert.deepEqual(faults, ['task-faulted']);
});

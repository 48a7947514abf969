import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { CallBudget, type CallLimits } from './call-budget.ts';

const LIMITS: CallLimits = { silenceMs: 5000, questionMs: 2500, callTimeoutMs: undefined };

test('the strict timeout runs from its start, ends the call sooner, and is then the setting that allows more', () => {
  const { runtime, advance } = frozenRuntime();
  const budget = new CallBudget(runtime.deadline(60_000), 'totalMs', { ...LIMITS, callTimeoutMs: 3000 });
  advance(10_000);
  assert.equal(budget.setting, 'totalMs');
  budget.startStrictTimeout();
  assert.equal(budget.setting, 'callTimeoutMs');
  advance(2900);
  assert.equal(budget.deadline.ended, undefined);
  advance(200);
  assert.equal(budget.deadline.ended, 'time-up');
});

test('a strict timeout beyond what is left of the total changes nothing', () => {
  const { runtime, advance } = frozenRuntime();
  const budget = new CallBudget(runtime.deadline(4000), 'totalMs', { ...LIMITS, callTimeoutMs: 3000 });
  advance(2000);
  budget.startStrictTimeout();
  assert.deepEqual([budget.setting, budget.deadline.remainingMs()], ['totalMs', 2000]);
  advance(2100);
  assert.equal(budget.deadline.ended, 'time-up');
});

test('without a strict timeout only the total ends the call', () => {
  const { runtime } = frozenRuntime();
  using budget = new CallBudget(runtime.deadline(60_000), 'totalMs', LIMITS);
  budget.startStrictTimeout();
  assert.deepEqual([budget.setting, budget.deadline.remainingMs()], ['totalMs', 60_000]);
});

test('a server that was slow before may be silent for longer, and the probe stays half-way at most', () => {
  const { runtime } = frozenRuntime();
  using budget = new CallBudget(runtime.deadline(60_000), 'totalMs', { ...LIMITS, silenceMs: 1000 });
  assert.deepEqual([budget.silenceMs, budget.questionMs], [1000, 500]);
  budget.allowSilence(800);
  assert.deepEqual([budget.silenceMs, budget.questionMs], [1000, 500], 'never less than what is configured');
  budget.allowSilence(15_000);
  assert.deepEqual([budget.silenceMs, budget.questionMs], [15_000, 2500]);
  assert.equal(budget.configuredSilenceMs, 1000);
});

test('a request without limits may be silent until its deadline', () => {
  const { runtime } = frozenRuntime();
  using budget = new CallBudget(runtime.deadline(1000), 'pingMs');
  budget.allowSilence(15_000);
  budget.startStrictTimeout();
  assert.deepEqual([budget.silenceMs, budget.configuredSilenceMs, budget.setting], [undefined, undefined, 'pingMs']);
  assert.equal(budget.deadline.remainingMs(), 1000);
});

test('a budget that is disposed of leaves nothing in the timer wheel and calls no listener', () => {
  const { runtime } = frozenRuntime();
  const reasons: string[] = [];
  {
    using budget = new CallBudget(runtime.deadline(1000), 'totalMs', LIMITS);
    budget.deadline.onEnd((reason) => reasons.push(reason));
  }
  assert.deepEqual([runtime.wheel.size, reasons], [0, []]);
});

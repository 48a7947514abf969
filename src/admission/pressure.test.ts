import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pressure, type PressureLevel } from './pressure.ts';

/** Four readings a second for `ms`; the level at their end. */
function after(
  pressure: Pressure,
  from: number,
  ms: number,
  reading: { loopP99Ms?: number; memoryShare?: number },
): PressureLevel {
  for (let at = 0; at <= ms; at += 250)
    pressure.update({ nowMs: from + at, loopP99Ms: 0, memoryShare: 0.1, ...reading });
  return pressure.level;
}

// row F5 · guards src/admission/pressure.ts
test('memory raises the pressure at once at each threshold, and lowers it well below it after a delay', () => {
  const pressure = new Pressure();
  assert.equal(after(pressure, 0, 0, { memoryShare: 0.69 }), 'calm');
  assert.equal(after(pressure, 250, 0, { memoryShare: 0.71 }), 'high');
  assert.equal(after(pressure, 500, 0, { memoryShare: 0.86 }), 'shedding');
  assert.equal(pressure.cause, 'memory at 86 %');
  assert.equal(after(pressure, 750, 60_000, { memoryShare: 0.8 }), 'shedding', 'it does not flutter around a mark');
  assert.equal(after(pressure, 61_000, 1500, { memoryShare: 0.2 }), 'shedding');
  assert.equal(after(pressure, 62_750, 500, { memoryShare: 0.2 }), 'calm');
  assert.equal(pressure.cause, '');
});

test('event loop delay raises the pressure after two seconds', () => {
  const pressure = new Pressure();
  assert.equal(after(pressure, 0, 1750, { loopP99Ms: 150 }), 'calm');
  assert.equal(after(pressure, 2000, 0, { loopP99Ms: 0 }), 'calm', 'a moment without it begins anew');
  assert.equal(after(pressure, 2250, 1750, { loopP99Ms: 150 }), 'calm');
  assert.equal(after(pressure, 4250, 0, { loopP99Ms: 150 }), 'high');
  assert.equal(after(pressure, 4500, 2000, { loopP99Ms: 1200 }), 'shedding');
  assert.equal(after(pressure, 7000, 2000, { loopP99Ms: 150 }), 'high');
  assert.equal(after(pressure, 9500, 2000, { loopP99Ms: 5 }), 'calm');
});

test('reports a change once', () => {
  const pressure = new Pressure();
  const told = Array.from({ length: 5 }, (_, at) => pressure.update({ nowMs: at, loopP99Ms: 0, memoryShare: 0.9 }));
  assert.deepEqual(told, [true, false, false, false, false]);
});

/** How `mcphub chaos` evaluates its samples, and the copy of a configuration with which it starts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyOf } from './_config-copy.ts';
import { FAULTS, type FaultKind, figuresOf, outageOf, promisesBroken, type Sample } from './_faults.ts';

function sample(atMs: number, ms: number, words?: string): Sample {
  return { atMs, ms, result: words === undefined, words, unanswered: false };
}

function trouble(name: string): FaultKind {
  const found = FAULTS.find((one) => one.name === name);
  assert.ok(found);
  return found;
}

const quick = figuresOf([sample(0, 2), sample(50, 3)]);
const well = { health: quick, list: quick, echo: quick, broken: undefined, outageMs: 50, idleMs: 10 };

test('keeps the meaning of relative directories in the copy', () => {
  const text = `{ // as people write it
    "mcpServers": {
      "a": { "command": "node", "cwd": "../x" },
      "b": { "command": "node" },
      "c": { "command": "node", "cwd": "/y" },
      "d": { "url": "http://127.0.0.1:\${PORT}/mcp", "launch": { "command": "node", "cwd": "z" } },
      "e": { "url": "http://127.0.0.1:1/mcp" },
    },
    "groups": { "g": { "servers": ["a"] } },
    "limits": { "hubs": 2 },
  }`;
  const copy = copyOf(text, '/etc/mcphub/mcp.json', { withServers: true });
  const servers = copy.mcpServers as Record<string, { cwd?: string; launch?: { cwd: string } }>;
  const dirs = ['a', 'b', 'c', 'e'].map((name) => servers[name]?.cwd);
  assert.deepEqual(dirs, ['/etc/x', '/etc/mcphub', '/y', undefined]);
  assert.equal(servers.d?.launch?.cwd, '/etc/mcphub/z');
  assert.equal(servers.d?.cwd, undefined);
  assert.deepEqual(copy.groups, { g: { servers: ['a'] } });
});

test('removes groups but keeps limits when the servers are excluded', () => {
  const text =
    '{ "mcpServers": { "a": { "command": "x" } }, "groups": { "g": { "servers": ["a"] } }, "limits": { "hubs": 2 } }';
  assert.deepEqual(copyOf(text, '/x.json', { withServers: false }), { mcpServers: {}, limits: { hubs: 2 } });
  assert.deepEqual(copyOf(undefined, '', { withServers: true }), { mcpServers: {} });
});

test('measures the time without a successful response between responses and to the end', () => {
  assert.equal(outageOf([sample(0, 10), sample(50, 10), sample(100, 900)], 1010), 940);
  assert.equal(outageOf([sample(0, 10), sample(50, 10, 'cut'), sample(500, 10)], 520), 500);
  assert.equal(outageOf([sample(0, 10), sample(50, 10, 'cut')], 3010), 3000);
  assert.equal(outageOf([], 700), 700);
});

test('computes figures over all requests', () => {
  const figures = figuresOf([...Array.from({ length: 99 }, (_, at) => sample(at, at)), sample(99, 500, 'busy')]);
  assert.deepEqual(figures, {
    sent: 100,
    results: 99,
    unanswered: 0,
    medianMs: 50,
    p99Ms: 500,
    worstMs: 500,
    words: 'busy',
  });
});

test('reports nothing when every guarantee held', () => {
  for (const one of FAULTS) {
    const broken =
      one.expected === undefined
        ? undefined
        : figuresOf([sample(0, 5000, one.expected === 'error' ? 'no' : undefined)]);
    assert.deepEqual(promisesBroken(one, { ...well, broken }), [], one.name);
  }
});

test('reports each violated guarantee', () => {
  const late = figuresOf([sample(0, 2001)]);
  const failed = figuresOf([sample(0, 2), sample(1, 2, 'cut')]);
  const bad: [object, RegExp][] = [
    [{ health: late }, /\/health took 2001 ms/],
    [{ list: failed }, /1 of 2 × tools\/list failed \(cut\)/],
    [{ echo: figuresOf([]) }, /echo never succeeded/],
    [{ broken: figuresOf([sample(0, 8000, 'no')]) }, /faulty server took 8000 ms/],
    [{ broken: figuresOf([sample(0, 10)]) }, /1 of 1 calls to the faulty server did not end with an error/],
    [{ broken: figuresOf([]) }, /0 of 0 calls/],
    [{ idleMs: undefined }, /did not become idle again/],
  ];
  const error = figuresOf([sample(0, 10, 'no')]);
  for (const [more, words] of bad)
    assert.match(promisesBroken(trouble('hung'), { ...well, broken: error, ...more }).join('\n'), words);
});

test('allows a blocked hub to be unavailable for a while, but every request must get a response', () => {
  const away = { ...well, outageMs: 7900, health: figuresOf([sample(0, 2), sample(50, 7900, 'cut')]) };
  assert.deepEqual(promisesBroken(trouble('loop'), away), []);
  assert.match(promisesBroken(trouble('loop'), { ...away, outageMs: 10_001 }).join(), /failed for 10001 ms/);
  const unanswered = figuresOf([sample(0, 2), { ...sample(0, 12_000, 'no answer'), unanswered: true }]);
  assert.match(promisesBroken(trouble('loop'), { ...away, echo: unanswered }).join(), /1 × echo got no response/);
});

/**
 * `npm run bench`: direct, nginx and hub in one interleaved run, ratios of medians, the goals with floor and goal
 * beside what was measured.
 * Promises: ≤ 6 minutes; fresh processes in each repetition; every answer's bytes and id are checked (a wrong answer
 * fails the run); a gap is printed, not hidden; the limits in force are printed. Exit 1 = wrong answers or errors; gaps
 * alone do not fail it (`--strict` makes them).
 * Usage: node bench/run.ts [--repetitions 3] [--seconds 2] [--strict] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { LIMITS, limitsFrom } from '../src/config/limits.ts';
import { extraFigures } from './extra.ts';
import { GOALS, verdictOf } from './goals.ts';
import { type Load, type Measured, measure, median } from './measure.ts';
import {
  cleanUp,
  makeTools,
  RAISED,
  startDirect,
  startHubTarget,
  startNginx,
  type Target,
  type Tools,
} from './targets.ts';

const { values: flags } = parseArgs({
  options: {
    repetitions: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    strict: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const SECONDS = Number(flags.seconds);
const REPETITIONS = Number(flags.repetitions);
/** A repetition that shared the machine with more than this is run again, once. */
const FOREIGN_CORES = 0.15;

const LOADS: Readonly<Record<string, Load>> = {
  call1: { connections: 1, seconds: SECONDS, rate: 0, kind: 'call', tool: 'text200', textBytes: 200 },
  call10: { connections: 10, seconds: SECONDS, rate: 0, kind: 'call', tool: 'text200', textBytes: 200 },
  call70: { connections: 70, seconds: SECONDS, rate: 0, kind: 'call', tool: 'text200', textBytes: 200 },
  rate70: { connections: 70, seconds: SECONDS, rate: 50, kind: 'call', tool: 'text200', textBytes: 200 },
  big10: { connections: 10, seconds: SECONDS, rate: 0, kind: 'call', tool: 'text100000', textBytes: 100_000 },
  list10: { connections: 10, seconds: SECONDS, rate: 0, kind: 'list', tool: 'text200', textBytes: 0 },
  call5000: { connections: 5000, seconds: SECONDS, rate: 0, kind: 'call', tool: 'text200', textBytes: 200 },
};

type Name = Target['name'];
type Table = Record<Name, Record<string, Measured[]>>;

async function repetition(tools: Tools, order: readonly Name[], into: Table): Promise<void> {
  for (const name of order) {
    const target = await start(tools, name);
    if (!target) continue;
    try {
      // Sessions of 5,000 clients want the JIT warm like everything else.
      await measure(tools, target, { ...LOADS.call70!, seconds: 1.5 });
      for (const [load, spec] of Object.entries(LOADS)) {
        let figure = await measure(tools, target, spec);
        if (figure.foreignCores > FOREIGN_CORES) figure = await measure(tools, target, spec);
        into[name][load] = [...(into[name][load] ?? []), figure];
      }
    } finally {
      await target.stop();
    }
  }
}

function start(tools: Tools, name: Name): Promise<Target | undefined> {
  if (name === 'direct') return startDirect(tools);
  return name === 'nginx' ? startNginx(tools) : startHubTarget(tools);
}

function mid(table: Table, name: Name, load: string, pick: keyof Measured): number {
  return median((table[name][load] ?? []).map((figure) => figure[pick] as number));
}

function ratios(table: Table): Record<string, number> {
  const over = (load: string, pick: keyof Measured) => mid(table, 'hub', load, pick) / mid(table, 'nginx', load, pick);
  const added = (load: string) =>
    (mid(table, 'hub', load, 'p50Us') - mid(table, 'direct', load, 'p50Us')) /
    (mid(table, 'nginx', load, 'p50Us') - mid(table, 'direct', load, 'p50Us'));
  return {
    G1a: over('call10', 'perSecond'),
    G1b: over('call70', 'perSecond'),
    G2: over('call70', 'cpuUs'),
    G3: added('call1'),
    G4: added('rate70'),
    G5: over('call70', 'p99Us'),
    G6a: over('big10', 'perSecond'),
    G6b: mid(table, 'hub', 'big10', 'p99Us') / 1000,
    G7a: over('list10', 'perSecond'),
    G8: over('call5000', 'perSecond'),
  };
}

function printTable(table: Table): void {
  console.log(
    '\nmedians of %d repetitions, %d s each          calls/s      p50 µs      p99 µs   CPU µs/call  errors',
    REPETITIONS,
    SECONDS,
  );
  for (const load of Object.keys(LOADS)) {
    for (const name of ['direct', 'nginx', 'hub'] as const) {
      if (!table[name][load]) continue;
      const figure = (pick: keyof Measured) => mid(table, name, load, pick);
      const errors = (table[name][load] ?? []).reduce((sum, one) => sum + one.errors + one.unanswered, 0);
      const cells = [
        figure('perSecond').toFixed(0),
        figure('p50Us').toFixed(0),
        figure('p99Us').toFixed(0),
        figure('cpuUs').toFixed(1),
        String(errors),
      ];
      console.log(`  ${load.padEnd(10)} ${name.padEnd(24)} ${cells.map((cell) => cell.padStart(12)).join('')}`);
    }
  }
}

function printGoals(values: Record<string, number | undefined>): number {
  let gaps = 0;
  console.log('\n  goal   verdict        value      floor     goal   what');
  for (const goal of GOALS) {
    const value = values[goal.id];
    const verdict = verdictOf(goal, value);
    if (verdict === 'GAP') gaps += 1;
    const shown = value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(value < 10 ? 2 : 0);
    console.log(
      `  ${goal.id.padEnd(6)} ${verdict.padEnd(12)} ${shown.padStart(7)} ${goal.unit.padEnd(3)} ${String(goal.floor).padStart(6)} ${String(goal.goal).padStart(8)}   ${goal.what}`,
    );
  }
  return gaps;
}

function firstErrors(table: Table): string[] {
  return (['direct', 'nginx', 'hub'] as const).flatMap((name) =>
    Object.entries(table[name]).flatMap(([load, figures]) =>
      figures
        .filter((figure) => figure.errors + figure.unanswered > 0)
        .map(
          (figure) => `${name} ${load}: ${figure.errors} errors, ${figure.unanswered} unanswered: ${figure.firstError}`,
        ),
    ),
  );
}

const tools = makeTools();
const born = performance.now();
try {
  if (!tools.nginx) console.log('nginx is not installed: ratios to it are not measured (apt-get install nginx-light).');
  const table: Table = { direct: {}, nginx: {}, hub: {} };
  const names: Name[] = ['direct', 'nginx', 'hub'];
  for (let round = 0; round < REPETITIONS; round += 1) {
    const at = round % names.length;
    await repetition(tools, [...names.slice(at), ...names.slice(0, at)], table);
  }
  const extra = await extraFigures(tools, {
    seconds: SECONDS,
    nginxPerSecond: mid(table, 'nginx', 'call70', 'perSecond'),
  });
  const figures = { ...ratios(table), ...extra };
  const limits = limitsFrom({});
  const raised = Object.entries(RAISED).map((pair) => pair.join('='));
  console.log(
    `limits: all ${Object.keys(LIMITS).length} at their defaults (calls ${limits.calls}, key in flight ${limits.keyInFlight}, key per second ${limits.keyPerSecond}, server in flight ${limits.serverInFlight}, connections per server ${limits.serverConnections}), but for the comparison with nginx: ${raised.join(' ')}`,
  );
  printTable(table);
  const gaps = printGoals(figures);
  const wrong = firstErrors(table);
  console.log(
    `\n${gaps} gaps; ${wrong.length === 0 ? 'every answer was the right one' : `WRONG ANSWERS:\n${wrong.join('\n')}`}; ${((performance.now() - born) / 1000).toFixed(0)} s; node ${process.version}`,
  );
  if (flags.json) writeFileSync(flags.json, JSON.stringify({ figures, table }, null, 2));
  process.exitCode = wrong.length > 0 || (flags.strict && gaps > 0) ? 1 : 0;
} finally {
  cleanUp(tools);
}

/**
 * `npm run soak`: an hour of load unit U with a random fault each minute.
 * Usage: npm run soak [-- --minutes 60] [--seed n]
 * Promises: prints a line a minute and what was wrong at the end; exit code 1 when something was; ends by itself.
 */
import { parseArgs } from 'node:util';
import { judged } from './judge.ts';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string' },
    interval: { type: 'string', default: '60' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const [minutes, seconds] = [Number(values.minutes), Number(values.interval)];
if (!(minutes > 0 && minutes <= 24 * 60 && seconds >= 6 && Number.isInteger(seed))) {
  console.error('Usage: npm run soak [-- --minutes 0…1440] [--interval seconds, 6 or more] [--seed n]');
  process.exit(2);
}
console.log(`soak of ${minutes} min, a fault each ${seconds} s, seed ${seed}`);
const outcome = await soak({ minutes, intervalMs: seconds * 1000, seed, say: (line) => console.log(line) });
const wrong = judged(outcome);
console.log(`${outcome.requests} requests, ${outcome.unanswered.length} unanswered`);
for (const line of wrong) console.log(`wrong: ${line}`);
console.log(wrong.length === 0 ? 'passed' : `failed (again with --seed ${seed})`);
process.exitCode = wrong.length === 0 ? 0 : 1;

/**
 * What was wrong in a soak, in sentences; none = it passed. Pure.
 * Flat means: the last third of the samples against the first after the warm-up, with the room that a noisy machine and
 * a young heap need.
 */
import { recorded } from '../support/measured.ts';
import type { Sample, SoakOutcome } from './soak.ts';

const MIB = 2 ** 20;
/** What must be flat, and how far it may breathe: a share of what it was, or so much. */
const SLACK = {
  heapBytes: { share: 0.1, more: 6 * MIB },
  rssBytes: { share: 0.3, more: 64 * MIB },
  // Kept connections to servers and of clients come and go.
  descriptors: { share: 0, more: 24 },
  guardDescriptors: { share: 0, more: 24 },
  processes: { share: 0, more: 0 },
  active: { share: 0, more: 24 },
} as const;
type Flat = keyof typeof SLACK;
const FLAT = Object.keys(SLACK) as Flat[];
/** For a slope to mean something, minutes. */
const SLOPE_MINUTES = 30;
const SLOPE_MB_PER_HOUR = 1;

export function judged(outcome: SoakOutcome): string[] {
  const { samples, unanswered, calmFailed, foreign, left, warnings, requests } = outcome;
  const wrong: string[] = [];
  if (unanswered.length > 0)
    wrong.push(
      `${unanswered.length} of ${requests} requests unanswered, the first: ${unanswered.slice(0, 3).join(' | ')}`,
    );
  if (calmFailed.length > 0)
    wrong.push(
      `${calmFailed.length} of ${requests} calls to the calm server failed: ${calmFailed.slice(0, 3).join(' | ')}`,
    );
  if (foreign > 0) wrong.push(`${foreign} answers of another call`);
  if (left.length > 0) wrong.push(`not back to idle: ${left.join(', ')}`);
  if (warnings.length > 0) wrong.push(`warnings: ${warnings.slice(0, 3).join(' | ')}`);
  const [first, last] = [
    least(samples.slice(1, 4)),
    least(samples.slice(-Math.max(3, Math.floor(samples.length / 3)))),
  ];
  if (first === undefined || last === undefined) return [...wrong, 'too few samples'];
  for (const figure of FLAT) {
    const most = first[figure] + Math.max(first[figure] * SLACK[figure].share, SLACK[figure].more);
    if (last[figure] > most) wrong.push(`${figure} grew from ${first[figure]} to ${last[figure]}`);
  }
  const hours = (samples.at(-1)?.atMinutes ?? 0) / 60;
  if (hours * 60 >= SLOPE_MINUTES) wrong.push(...slope(samples));
  recorded({
    promise: 'P3',
    what: `unanswered of ${requests} requests in a soak of ${hours.toFixed(2)} h`,
    value: unanswered.length,
    unit: 'requests',
    strict: 0,
  });
  return wrong;
}

function slope(samples: readonly Sample[]): string[] {
  const steady = samples.slice(Math.floor(samples.length / 3));
  const perHour = 60 * leastSquares(steady.map(({ atMinutes, rssBytes }) => [atMinutes, rssBytes / MIB]));
  const told = `resident memory grows by ${perHour.toFixed(2)} MB/h`;
  // Two samples of one sawtooth are no slope: what counts is what the line gains in the whole of the run.
  const gained = (perHour * ((steady.at(-1)?.atMinutes ?? 0) - (steady[0]?.atMinutes ?? 0))) / 60;
  return perHour > SLOPE_MB_PER_HOUR && gained > 16 ? [told] : [];
}

function leastSquares(points: readonly (readonly [number, number])[]): number {
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const under = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

/** The smallest of each figure: peaks are of the moment. */
function least(samples: readonly Sample[]): Record<Flat, number> | undefined {
  if (samples.length === 0) return undefined;
  const of = (figure: Flat): number => Math.min(...samples.map((sample) => sample[figure]));
  return Object.fromEntries(FLAT.map((figure) => [figure, of(figure)])) as Record<Flat, number>;
}

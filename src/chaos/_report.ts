/**
 * Output of `mcphub chaos`: per fault, what still responded and how fast, what callers of the fault server received,
 * and whether the hub became idle again.
 */

import { paint, table } from '../operator/output.ts';
import { ago } from '../runtime/ago.ts';
import { visible } from '../telemetry/mask.ts';
import type { Figures, Outcome } from './_faults.ts';

const WORDS = 160;

export function reportText(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map((one) => [
    one.name,
    timesText(one.health),
    timesText(one.list),
    timesText(one.echo),
    one.outageMs >= 1000 ? ago(one.outageMs) : '–',
    one.idleMs === undefined ? 'NO' : ago(one.idleMs),
    one.promisesBroken.length === 0 ? 'ok' : 'BROKEN',
  ]);
  const head = ['FAULT', '/HEALTH', 'TOOLS/LIST', 'OTHER CALLS', 'OUTAGE', 'IDLE AFTER', 'RESULT'];
  const broken = outcomes.flatMap(({ promisesBroken }) => promisesBroken);
  return [
    table(head, rows),
    '(succeeded/sent, then median / p99 / maximum in ms)',
    outcomes.map(brokenText).join('\n'),
    broken.length === 0
      ? paint('All guarantees held.', '32')
      : `${paint(`${broken.length} guarantees were broken:`, '31')}\n${broken.map((line) => `  ${visible(line)}`).join('\n')}`,
  ].join('\n\n');
}

function timesText({ sent, results, medianMs, p99Ms, worstMs }: Figures): string {
  return `${results}/${sent}  ${medianMs} / ${p99Ms} / ${worstMs}`;
}

function brokenText({ name, says, broken }: Outcome): string {
  if (!broken) return `${name}: ${says}.`;
  const { sent, results, medianMs, worstMs, words } = broken;
  const times = `median ${ago(medianMs)}, maximum ${ago(worstMs)}`;
  const got =
    results === sent
      ? `all ${sent} calls to it returned a result (${times})`
      : `${sent - results} of ${sent} calls to it ended with an error (${times})`;
  return `${name}: ${says}; ${got}${words ? `: ${visible(words).slice(0, WORDS)}` : ''}`;
}

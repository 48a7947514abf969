/**
 * `mcphub doctor [pid]`: diagnoses a hub, even one that does not respond. Prints the finding first, then the
 * observations.
 * Guarantees: does not depend on the hub and never waits for it (about 1.5 s in all); exit code 0 when all is well, 1
 * when something is wrong.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ERRORS, type ErrorCode, errorRow } from '../model/errors.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { dataDirGiven } from '../operator/hub-request.ts';
import { paint, print, printJson, table } from '../operator/output.ts';
import { ago } from '../runtime/ago.ts';
import { masked } from '../telemetry/mask.ts';
import { type Finding, findingsOf } from './findings.ts';
import { inspect, type Seen, type SeenProcess } from './inspection.ts';

export interface DoctorOptions {
  readonly json?: boolean;
  readonly dataDir?: string;
  readonly report?: boolean;
}

const STATES: Readonly<Record<string, string>> = {
  R: 'running',
  S: 'asleep',
  D: 'stuck in the kernel',
  T: 'STOPPED',
  t: 'STOPPED by a debugger',
  Z: 'ended',
};
const OLDEST_WAITS = 8;
/** Most kinds of refusals that are listed. */
const MOST_REFUSALS = 3;

export async function doctor(pid: string | undefined, options: DoctorOptions): Promise<void> {
  const dataDir = dataDirGiven(options.dataDir);
  const seen = await inspect(dataDir, pid === undefined ? undefined : pidFrom(pid), Number(process.env.PORT) || 3000);
  const findings = findingsOf(seen);
  const isBad = findings.some(({ level }) => level === 'bad');
  process.exitCode = isBad ? EXIT.error : EXIT.ok;
  if (options.report) return void print(await written(seen, findings));
  if (options.json) return printJson({ healthy: !isBad, findings, ...seen });
  print(pageOf(seen, findings, (text, code) => paint(text, code)));
}

function pidFrom(text: string): number {
  const pid = Number(text);
  if (Number.isInteger(pid) && pid > 0) return pid;
  throw new CliFailure(EXIT.usage, `A pid is a whole number, not ${JSON.stringify(text)}.`);
}

/** Writes one file for support requests; it contains no key, token, argument or result. */
async function written(seen: Seen, findings: readonly Finding[]): Promise<string> {
  const dir = join(seen.dataDir, 'evidence');
  const path = join(dir, `doctor-${new Date().toISOString().replaceAll(':', '-')}.txt`);
  const text = `${pageOf(seen, findings, (words) => words)}\n\n${JSON.stringify(seen, null, 2)}\n`;
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await writeFile(path, withoutSecrets(text), { mode: 0o600 });
  } catch (fault) {
    const { code, message } = fault as NodeJS.ErrnoException;
    const why = `The report cannot be written to ${dir} (${code ?? message}).`;
    throw new CliFailure(EXIT.error, `${why} Without --report it is printed.`);
  }
  return path;
}

/** Causes and log lines contain external text. */
function withoutSecrets(text: string): string {
  return text
    .split('\n')
    .map((line) =>
      masked(line)
        .replace(/(\w:\/\/)[^\s/@"]+@/g, '$1***@')
        .replace(/([?&][\w.-]+=)[^&\s"']+/g, '$1***')
        .replace(/((?:token|secret|password|api_?key)["']?\s*[:=]\s*["']?)[^\s"',]+/gi, '$1***'),
    )
    .join('\n');
}

function pageOf(seen: Seen, findings: readonly Finding[], paint: (text: string, code: string) => string): string {
  const [worst, ...others] = findings;
  const head = worst
    ? `${paint(worst.says, worst.level === 'bad' ? '1;31' : '1;33')}\n  → ${worst.todo}`
    : paint('No problem found: all processes respond.', '1;32');
  const rest = others.map(({ says, todo }) => `${says}\n  → ${todo}`);
  const parts = [
    [head, ...rest].join('\n'),
    seen.processes.length > 0 ? processTable(seen.processes) : '',
    seen.ports.map(portLine).join('\n'),
    ...seen.hubs.map(hubLines),
    seen.evidence.length > 0
      ? `Recent crash reports:\n${seen.evidence.map(({ process: who, at, why, path }) => `  ${who} at ${at}: ${why}\n    ${path}`).join('\n')}`
      : '',
    `Data directory ${seen.dataDir}${seen.freeDiskBytes === undefined ? '' : `, ${megabytes(seen.freeDiskBytes)} free`}`,
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function processTable(processes: readonly SeenProcess[]): string {
  return table(
    ['PROCESS', 'PID', 'STATE', 'SLEEPS IN', 'CPU', 'MEMORY', 'FILES', 'UP', 'ANSWERS'],
    processes.map((one) => [
      one.role,
      String(one.pid),
      STATES[one.state] ?? one.state,
      one.sleepsIn || '-',
      `${one.cpuPercent} %`,
      megabytes(one.rssBytes),
      `${one.descriptors ?? '?'} of ${one.descriptorLimit ?? '?'}`,
      ago(one.ageMs),
      one.answer === undefined ? '-' : 'ms' in one.answer ? `in ${one.answer.ms} ms` : `NO: ${one.answer.why}`,
    ]),
  );
}

function portLine({ port, queue, health }: Seen['ports'][number]): string {
  const answer =
    'why' in health
      ? `no response (${health.why})`
      : `${health.status} in ${health.ms} ms: ${health.text.slice(0, 80)}`;
  return `port ${port}: GET /health ${answer}; ${queue} connections wait to be accepted`;
}

/** Events that indicate a problem. */
const FAULTS: Readonly<Record<string, string>> = {
  'loop-stalled': 'event loop stalls',
  'server-was-lost': 'lost server connections',
  'breaker-opened': 'circuit breakers opened',
  'reader-cut': 'slow readers disconnected',
  'clients-vanished': 'sweeps of unreachable clients',
  'control-lost': 'lost connections to control',
  'task-faulted': 'internal faults',
  'log-dropped': 'periods of dropped log lines',
};

function hubLines({ hub, status, process: figures, servers, waits, counts = {} }: Seen['hubs'][number]): string {
  const ready = servers.filter(({ state }) => state === 'ready').length;
  const slope = figures?.slope === undefined ? '' : `, ${figures.slope} MB/h`;
  const peak = figures?.peakRssBytes === undefined ? '' : ` (peak ${megabytes(figures.peakRssBytes)}${slope})`;
  const pressure = figures?.pressure && figures.pressure !== 'calm' ? `, RESOURCE PRESSURE (${figures.pressure})` : '';
  const memory = figures
    ? `, memory ${megabytes(figures.rssBytes)}${peak}, heap ${megabytes(figures.heapBytes)}, loop p99 ${figures.loopP99Ms} ms${pressure}`
    : '';
  const troubles = Object.entries(FAULTS).flatMap(([fact, words]) =>
    counts[fact] ? [`${counts[fact]} ${words}`] : [],
  );
  const since = troubles.length === 0 ? '' : `\n  since start: ${troubles.join(', ')}`;
  const refusals = refusalLines(counts);
  const oldest = [...waits].sort((a, b) => b.ageMs - a.ageMs).slice(0, OLDEST_WAITS);
  const rows = oldest.map(({ label, owner, ageMs, remainingMs }) => [
    `  ${label}`,
    owner,
    ago(ageMs),
    ago(remainingMs),
  ]);
  const waiting = rows.length === 0 ? '' : `\n${table(['  WAITS FOR', 'OWNER', 'SINCE', 'ENDS IN'], rows)}`;
  return `${hub}: ${status ?? 'unknown'}, ${ready} of ${servers.length} servers ready, ${waits.length} waits${memory}${since}${refusals}${waiting}`;
}

/** Returns the most frequent refusals, and what to do about each. */
function refusalLines(counts: Readonly<Record<string, number>>): string {
  const all = counts['request-refused'] ?? 0;
  const rows = Object.entries(counts)
    .flatMap(([name, times]) => (name.startsWith('refused.') ? [{ code: name.slice('refused.'.length), times }] : []))
    .sort((a, b) => b.times - a.times)
    .slice(0, MOST_REFUSALS)
    .map(
      ({ code, times }) =>
        `\n    ${times} ${code}: ${Object.hasOwn(ERRORS, code) ? errorRow(code as ErrorCode).hint : ''}`,
    );
  return all === 0 ? '' : `\n  requests refused since start: ${all}${rows.join('')}`;
}

function megabytes(bytes: number): string {
  return bytes < 10 * 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MB` : `${Math.round(bytes / 2 ** 30)} GB`;
}

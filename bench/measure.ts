/**
 * One measurement: runs the generator against a target, with the target's CPU time beside it, and the foreign CPU seen
 * meanwhile.
 */
import { spawn } from 'node:child_process';
import { cpuSeconds, machineCpuSeconds, pinned, type Target, type Tools } from './targets.ts';

export interface Load {
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second in all; 0 = closed loop. */
  readonly rate: number;
  readonly kind: 'call' | 'list';
  /** Native tool name and the length of its text. */
  readonly tool: string;
  readonly textBytes: number;
}

export interface Measured {
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly answered: number;
  readonly errors: number;
  readonly unanswered: number;
  readonly firstError: string;
  /** CPU of the target's processes per answer, in µs. */
  readonly cpuUs: number;
  /** Cores used by anybody but target and generator. */
  readonly foreignCores: number;
}

interface LoadLine {
  readonly answered: number;
  readonly errors: number;
  readonly unanswered: number;
  readonly perSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly firstError: string;
}

const OTHER_CORE = '1';

export async function measure(tools: Tools, target: Target, load: Load): Promise<Measured> {
  const pids = target.pids();
  const before = { target: cpuSeconds(pids), machine: machineCpuSeconds(), at: performance.now() };
  const args = [
    String(target.port),
    target.path,
    String(load.connections),
    String(load.seconds),
    String(load.rate),
    load.kind,
    target.tool(load.tool),
    String(load.textBytes),
    ...(target.key ? [target.key] : []),
  ];
  const { line, cpu } = await runLoad(tools, args, load.seconds);
  const seconds = (performance.now() - before.at) / 1000;
  const targetCpu = cpuSeconds(pids) - before.target;
  const machine = machineCpuSeconds() - before.machine;
  return {
    ...line,
    cpuUs: line.answered > 0 ? (targetCpu * 1e6) / line.answered : Number.NaN,
    foreignCores: Math.max(0, (machine - targetCpu - cpu) / seconds),
  };
}

function runLoad(tools: Tools, args: readonly string[], seconds: number): Promise<{ line: LoadLine; cpu: number }> {
  return new Promise((resolve, reject) => {
    const [command, all] = pinned(OTHER_CORE, tools.load, args);
    const child = spawn(command, all, { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    let cpu = 0;
    const look = setInterval(() => {
      cpu = Math.max(cpu, cpuSeconds([child.pid ?? -1]));
    }, 50);
    const limit = setTimeout(() => child.kill('SIGKILL'), (seconds + 60) * 1000);
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString('utf8');
    });
    child.once('exit', (code) => {
      clearInterval(look);
      clearTimeout(limit);
      if (code === 0) resolve({ line: JSON.parse(out) as LoadLine, cpu });
      else reject(new Error(`the generator ended with ${code}: load ${args.slice(0, 8).join(' ')}`));
    });
  });
}

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

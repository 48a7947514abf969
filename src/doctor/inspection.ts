/**
 * Observes a hub without depending on it: its processes in /proc, its port in the kernel's tables, and short requests
 * to each private socket.
 * Guarantees: each request ends after `ASK_MS`, and all are sent at once; what cannot be observed (another user's
 * processes, a system without /proc) is undefined, never an error.
 */

import { access, constants, statfs } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as restFor } from 'node:timers/promises';
import { runDirFor } from '../config/paths.ts';
import { PROCESS_ENV, socketName } from '../model/supervisor-messages.ts';
import { readProcessStat } from '../runtime/process-stat.ts';
import type { WaitRow } from '../runtime/waits.ts';
import { readKernelFunction } from '../supervisor/proc.ts';
import {
  childrenOf,
  environOf,
  holderOf,
  holderOfPort,
  listenersOf,
  namesIn,
  parsed,
  supervisorOf,
  textOf,
} from './processes.ts';

const ASK_MS = 1000;
/** Time in ms over which CPU use is measured. */
const SAMPLE_MS = 300;
const ANSWER_CHARS = 4_000_000;
const TICKS_A_SECOND = 100;

export interface SeenProcess {
  /** `guard` (the supervisor), `control`, `hub-1` … or the command of an unknown process. */
  readonly role: string;
  readonly pid: number;
  readonly state: string;
  /** Kernel function in which it sleeps; empty when it runs or the function is not visible. */
  readonly sleepsIn: string;
  readonly cpuPercent: number;
  readonly rssBytes: number;
  readonly threads: number;
  readonly descriptors: number | undefined;
  readonly descriptorLimit: number | undefined;
  readonly ageMs: number;
  /** Response time in ms on its private socket, or why it did not respond. Undefined for the supervisor. */
  readonly answer: { readonly ms: number } | { readonly why: string } | undefined;
}

export interface SeenPort {
  readonly port: number;
  /** Connections that the kernel has accepted and the supervisor has not. */
  readonly queue: number;
  /** True when other machines can reach it. */
  readonly isOpen: boolean;
  readonly health: { readonly ms: number; readonly status: number; readonly text: string } | { readonly why: string };
}

/** What a worker reported about itself. */
export interface HubReport {
  readonly hub: string;
  readonly status?: string;
  readonly process?: {
    readonly rssBytes: number;
    readonly heapBytes: number;
    readonly loopP99Ms: number;
    readonly peakRssBytes?: number;
    /** MB per hour. */
    readonly slope?: number;
    readonly pressure?: string;
  };
  /** Events since its start by name, and the sizes of containers. */
  readonly counts?: Readonly<Record<string, number>>;
  /** Lists that do not fit in snapshotBytes. */
  readonly catalogsTooLarge?: readonly { readonly server: string; readonly bytes: number }[];
  readonly servers: readonly { readonly server: string; readonly state: string; readonly cause?: string | undefined }[];
  readonly waits: readonly WaitRow[];
  readonly ceilings: readonly { readonly name: string; readonly size: number; readonly max: number }[];
}

export interface Seen {
  readonly dataDir: string;
  /** The supervisor; the output of `--json` keeps this name. */
  readonly guard: number | undefined;
  /** The system's error code when the data directory cannot be read. */
  readonly dataDirFault: string | undefined;
  /** The process that listens on the hub's port when no hub runs. */
  readonly portTakenBy: { readonly port: number; readonly pid: number; readonly command: string } | undefined;
  readonly processes: readonly SeenProcess[];
  readonly ports: readonly SeenPort[];
  readonly hubs: readonly HubReport[];
  readonly evidence: readonly {
    readonly path: string;
    readonly at: string;
    readonly process: string;
    readonly why: string;
  }[];
  readonly freeDiskBytes: number | undefined;
  /** True on systems other than Linux, where processes cannot be observed. */
  readonly isBlind: boolean;
}

/**
 * Inspects a hub. `pid` is a supervisor or one of its processes; undefined for the supervisor that holds the data
 * directory. `port` is the port on which a hub would listen.
 */
export async function inspect(dataDirGiven: string, pid: number | undefined, port: number): Promise<Seen> {
  const supervisor = pid === undefined ? holderOf(dataDirGiven) : supervisorOf(pid);
  const children = supervisor === undefined ? [] : childrenOf(supervisor);
  const parts = children.filter((child) => environOf(child)[PROCESS_ENV.role] !== undefined);
  const dataDir =
    parts.map((part) => environOf(part)[PROCESS_ENV.dataDir]).find((dir) => dir !== undefined) ?? dataDirGiven;
  const runDir = runDirFor(dataDir);
  const alone = supervisor === undefined && pid !== undefined ? [pid] : [];
  const pids = [...(supervisor === undefined ? [] : [supervisor]), ...parts, ...alone];
  const before = new Map(pids.map((one) => [one, readProcessStat(one)?.cpuMs ?? 0]));
  const sinceMs = performance.now();
  const asked = Promise.all(parts.map(async (part) => [part, await answerOf(socketOf(part, runDir))] as const));
  const [answers, hubs, ports, free] = await Promise.all([
    asked,
    Promise.all(slotsIn(runDir, parts).map((slot) => wordsOf(runDir, slot))),
    Promise.all((supervisor === undefined ? [] : listenersOf(supervisor)).map(seenPort)),
    statfs(dataDir).catch(() => undefined),
    restFor(SAMPLE_MS),
  ]);
  const overMs = performance.now() - sinceMs;
  const answered = new Map(answers);
  const processes = pids.flatMap((one) => {
    const seen = seenProcess(one, supervisor, { cpuMs: before.get(one) ?? 0, overMs, answer: answered.get(one) });
    return seen ? [seen] : [];
  });
  const taken = supervisor === undefined ? holderOfPort(port) : undefined;
  const fault = await access(dataDir, constants.R_OK | constants.X_OK).then(
    () => undefined,
    ({ code }: NodeJS.ErrnoException) => code,
  );
  return {
    dataDir,
    guard: supervisor,
    dataDirFault: fault,
    portTakenBy: taken && { port, ...taken },
    processes,
    ports,
    hubs: hubs.filter((hub) => hub !== undefined),
    evidence: evidenceIn(dataDir),
    freeDiskBytes: free ? free.bavail * free.bsize : undefined,
    isBlind: process.platform !== 'linux',
  };
}

function seenProcess(
  pid: number,
  supervisor: number | undefined,
  { cpuMs, overMs, answer }: { cpuMs: number; overMs: number; answer: SeenProcess['answer'] },
): SeenProcess | undefined {
  const facts = readProcessStat(pid);
  if (!facts) return undefined;
  const status = textOf(`/proc/${pid}/status`);
  const limits = textOf(`/proc/${pid}/limits`);
  const upMs = Number(textOf('/proc/uptime').split(' ')[0]) * 1000;
  return {
    role: pid === supervisor ? 'guard' : (roleOf(pid) ?? textOf(`/proc/${pid}/comm`).trim()),
    pid,
    state: facts.state,
    sleepsIn: readKernelFunction(pid).replace(/^0$/, ''),
    cpuPercent: Math.round((100 * (facts.cpuMs - cpuMs)) / overMs),
    rssBytes: facts.rssBytes,
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 0),
    descriptors: namesIn(`/proc/${pid}/fd`)?.length,
    descriptorLimit: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1]) || undefined,
    ageMs: Math.max(0, upMs - (Number(facts.startTicks) * 1000) / TICKS_A_SECOND),
    answer: pid === supervisor ? undefined : answer,
  };
}

function roleOf(pid: number): string | undefined {
  const env = environOf(pid);
  const role = env[PROCESS_ENV.role];
  return role === 'hub' ? `hub-${env[PROCESS_ENV.slot]}` : role;
}

function socketOf(pid: number, runDir: string): string {
  const env = environOf(pid);
  return join(
    runDir,
    socketName(env[PROCESS_ENV.role] === 'hub' ? 'hub' : 'control', Number(env[PROCESS_ENV.slot] ?? 0)),
  );
}

function slotsIn(runDir: string, parts: readonly number[]): number[] {
  const seen = parts.flatMap((pid) => {
    const env = environOf(pid);
    return env[PROCESS_ENV.role] === 'hub' ? [Number(env[PROCESS_ENV.slot])] : [];
  });
  const named = (namesIn(runDir) ?? []).flatMap((name) => /^hub-(\d+)\.sock$/.exec(name)?.slice(1).map(Number) ?? []);
  return [...new Set([...seen, ...named])].sort((a, b) => a - b);
}

async function answerOf(socketPath: string): Promise<SeenProcess['answer']> {
  const sinceMs = performance.now();
  const got = await asked({ socketPath, path: '/probe' });
  return 'why' in got ? got : { ms: Math.round(performance.now() - sinceMs) };
}

async function wordsOf(runDir: string, slot: number): Promise<HubReport | undefined> {
  const socketPath = join(runDir, socketName('hub', slot));
  const paths = ['/api/health', '/api/waits', '/api/ceilings', '/servers'];
  const [health, waits, ceilings, servers] = await Promise.all(paths.map((path) => asked({ socketPath, path })));
  if (!health || 'why' in health) return undefined;
  const detail = parsed(health.text) as Partial<HubReport>;
  return {
    ...detail,
    hub: `hub-${slot}`,
    servers: listIn(servers, 'servers') as HubReport['servers'],
    waits: listIn(waits, 'waits') as HubReport['waits'],
    ceilings: listIn(ceilings, 'ceilings') as HubReport['ceilings'],
  };
}

async function seenPort({ port, queue, isOpen }: Omit<SeenPort, 'health'>): Promise<SeenPort> {
  const sinceMs = performance.now();
  const got = await asked({ host: '127.0.0.1', port, path: '/health' });
  const health =
    'why' in got ? got : { ms: Math.round(performance.now() - sinceMs), status: got.status, text: got.text };
  return { port, queue, isOpen, health };
}

type Got = { readonly status: number; readonly text: string } | { readonly why: string };

/** Sends one short request; never rejects. */
function asked(where: { socketPath?: string; host?: string; port?: number; path: string }): Promise<Got> {
  return new Promise((resolve) => {
    const request = get({ ...where, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => {
        text = (text + chunk).slice(0, ANSWER_CHARS);
      });
      answer.on('error', () => {});
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    const limit = setTimeout(() => {
      resolve({ why: `no answer in ${ASK_MS} ms` });
      request.destroy();
    }, ASK_MS);
    request.on('error', (fault: NodeJS.ErrnoException) => resolve({ why: fault.code ?? fault.message }));
    request.on('close', () => clearTimeout(limit));
  });
}

function listIn(got: Got | undefined, name: string): unknown[] {
  const value = got && 'text' in got ? (parsed(got.text) as Record<string, unknown>)[name] : undefined;
  return Array.isArray(value) ? value : [];
}

function evidenceIn(dataDir: string): Seen['evidence'] {
  const dir = join(dataDir, 'evidence');
  const names = (namesIn(dir) ?? []).filter((name) => name.endsWith('.json')).sort();
  return names.slice(-3).map((name) => {
    const path = join(dir, name);
    const { at = '', process: who = '', why = '' } = parsed(textOf(path)) as Record<string, string>;
    return { path, at, process: who, why };
  });
}

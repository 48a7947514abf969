/**
 * Observes one process: its heartbeats, the probes that it answers on its private socket, its stall-watching thread,
 * and its CPU use. Never throws and never blocks; a broken stream of heartbeats is reopened at the next poll. One probe
 * and one question to the stall-watching thread are pending at a time; a probe fails after `probeMs`, not counting time
 * without a CPU. `liveness-policy.ts` decides what follows.
 */
import { type ClientRequest, get } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Limits } from '../config/limits.ts';
import type { Heartbeat } from '../model/supervisor-messages.ts';
import { readProcessStat } from '../runtime/process-stat.ts';
import { type Observation, unexplainedWaitMs } from './liveness-policy.ts';
import { readKernelFunction, waitedForCpuMs } from './proc.ts';

/** Characters of an incomplete heartbeat line that are kept. */
const HEARTBEAT_CHARS = 65_536;
/** A stream of heartbeats that has not begun by then is opened again. */
const STREAM_START_MS = 3000;
/** When the last heartbeat is this old, the stall-watching thread is asked as well. */
const LATE_HEARTBEAT_MS = 1250;
/** Timeout of a question to the stall-watching thread, which answers at once or not at all. */
const STALL_THREAD_MS = 500;
/** Longest answer of the stall-watching thread: a line with a number. */
const STALL_THREAD_CHARS = 64;

export interface ProcessProbeOptions {
  readonly socketPath: string;
  /** Socket of its stall-watching thread. */
  readonly loopSocketPath: string;
  /** Read at each probe, because the configuration may arrive after the process has started. */
  readonly limits: Pick<Limits, 'probeMs'>;
}

export class ProcessProbe {
  readonly #options: ProcessProbeOptions;
  readonly #pid: number;
  readonly #startedMs = performance.now();
  #heartbeatMs = -1;
  #atHeartbeat = { cpuMs: 0, waitedMs: 0 };
  #heartbeats: ClientRequest | undefined;
  #probe: ClientRequest | undefined;
  #probeSentMs = 0;
  /** Duration of the last completed probe, ms; undefined = it failed. */
  #lastDuration: number | undefined;
  #failedProbes = 0;
  #stallThread: Socket | undefined;
  /** Last time the loop was seen to advance, on this process's clock. */
  #loopAdvancedAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;
  lastHeartbeat: Heartbeat | undefined;

  constructor(pid: number, options: ProcessProbeOptions) {
    this.#pid = pid;
    this.#options = options;
  }

  get sinceHeartbeatMs(): number {
    return performance.now() - (this.#heartbeatMs < 0 ? this.#startedMs : this.#heartbeatMs);
  }

  /**
   * Called when the process reports that it is ready. From now on silence counts, even if it stalls before its first
   * heartbeat is read.
   */
  markReady(): void {
    this.#recordHeartbeat();
    this.poll();
  }

  /** Called once a second for a ready process: subscribes to its heartbeats and probes it. */
  poll(): void {
    this.#subscribeToHeartbeats();
    this.#sendProbe();
    if (this.sinceHeartbeatMs >= LATE_HEARTBEAT_MS) this.#askStallThread();
  }

  /** Returns what is known of the process now. `lateMs` = delay of the supervisor's own poll. */
  observe(lateMs: number, unacknowledgedMs: number): Observation {
    const stat = readProcessStat(this.#pid);
    const sinceHeartbeatMs = this.sinceHeartbeatMs;
    return {
      sinceHeartbeatMs,
      booting: this.#heartbeatMs < 0,
      cpuMs: stat && stat.cpuMs - this.#atHeartbeat.cpuMs,
      waitedForCpuMs: waitedForCpuMs(this.#pid) - this.#atHeartbeat.waitedMs,
      state: stat?.state,
      kernelFunction: readKernelFunction(this.#pid),
      failedProbes: this.#failedProbes,
      probeMs: this.#probeMs,
      loopAdvancedMs: performance.now() - this.#loopAdvancedAtMs,
      unacknowledgedMs,
      supervisorLateMs: lateMs,
    };
  }

  close(): void {
    this.#closed = true;
    this.#heartbeats?.destroy();
    this.#probe?.destroy();
    this.#stallThread?.destroy();
  }

  /** A pending probe counts as soon as it has taken longer than the last one. */
  get #probeMs(): number {
    const pendingMs = this.#probe ? performance.now() - this.#probeSentMs : 0;
    return Math.max(pendingMs, this.#lastDuration ?? Number.POSITIVE_INFINITY);
  }

  #subscribeToHeartbeats(): void {
    if (this.#heartbeats) return;
    const request = get({ socketPath: this.#options.socketPath, path: '/beat', agent: false });
    this.#heartbeats = request;
    const timer = setTimeout(() => request.destroy(), STREAM_START_MS);
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(timer);
      if (this.#heartbeats === request) this.#heartbeats = undefined;
    });
    request.on('response', (answer) => {
      clearTimeout(timer);
      let held = '';
      answer.setEncoding('utf8');
      answer.on('error', () => {});
      answer.on('data', (chunk: string) => {
        if (answer.statusCode !== 200) return;
        const lines = (held + chunk).split('\n');
        held = (lines.pop() ?? '').slice(-HEARTBEAT_CHARS);
        const last = lines.at(-1);
        if (last !== undefined) this.#handleHeartbeat(last);
      });
    });
  }

  #handleHeartbeat(line: string): void {
    if (this.#closed) return;
    let heartbeat: Heartbeat | undefined;
    try {
      heartbeat = JSON.parse(line) as Heartbeat;
    } catch {
      // Unreadable; its arrival is what counts.
    }
    // During a replacement the socket's name leads to the other process; its heartbeats are not those of this one.
    if (heartbeat && heartbeat.pid !== this.#pid) return void this.#heartbeats?.destroy();
    this.#recordHeartbeat();
    if (heartbeat) this.lastHeartbeat = heartbeat;
  }

  #recordHeartbeat(): void {
    this.#heartbeatMs = performance.now();
    this.#atHeartbeat = { cpuMs: readProcessStat(this.#pid)?.cpuMs ?? 0, waitedMs: waitedForCpuMs(this.#pid) };
  }

  #sendProbe(): void {
    if (this.#probe) return;
    const request = get({ socketPath: this.#options.socketPath, path: '/probe', agent: false });
    this.#probe = request;
    this.#probeSentMs = performance.now();
    let answered = false;
    const unexplained = this.#startUnexplainedWait();
    const expire = (): void => {
      const leftMs = this.#options.limits.probeMs - unexplained();
      if (leftMs <= 0) request.destroy();
      else timer = setTimeout(expire, Math.max(leftMs, STALL_THREAD_MS));
    };
    let timer = setTimeout(expire, this.#options.limits.probeMs);
    request.on('response', (answer) => {
      answered = answer.statusCode === 200;
      if (answered) this.#lastDuration = performance.now() - this.#probeSentMs;
      answer.on('error', () => {});
      answer.resume();
    });
    request.on('error', () => {});
    request.on('close', () => {
      clearTimeout(timer);
      this.#probe = undefined;
      this.#failedProbes = answered ? 0 : this.#failedProbes + 1;
      if (!answered) this.#lastDuration = undefined;
    });
  }

  /** Returns a function that returns the ms, from now on, for which a lack of CPU does not explain a missing answer. */
  #startUnexplainedWait(): () => number {
    const [startedMs, waitedMs] = [performance.now(), waitedForCpuMs(this.#pid)];
    const supervisorWaitedMs = waitedForCpuMs(process.pid);
    const startCpuMs = readProcessStat(this.#pid)?.cpuMs ?? 0;
    return () => {
      const { cpuMs, state } = readProcessStat(this.#pid) ?? {};
      return unexplainedWaitMs({
        elapsedMs: performance.now() - startedMs,
        waitedForCpuMs: waitedForCpuMs(this.#pid) - waitedMs,
        supervisorWaitedForCpuMs: waitedForCpuMs(process.pid) - supervisorWaitedMs,
        cpuMs: cpuMs === undefined ? undefined : cpuMs - startCpuMs,
        state,
      });
    };
  }

  /** Asks the stall-watching thread how long ago the loop advanced. Without an answer the last one stays, and ages. */
  #askStallThread(): void {
    if (this.#stallThread) return;
    const socket = connect(this.#options.loopSocketPath);
    this.#stallThread = socket;
    const timer = setTimeout(() => socket.destroy(), STALL_THREAD_MS);
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text = (text + chunk).slice(0, STALL_THREAD_CHARS);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      this.#stallThread = undefined;
      const [, agoMs] = /^(\d{1,9})\n$/.exec(text) ?? [];
      if (agoMs !== undefined) this.#loopAdvancedAtMs = performance.now() - Number(agoMs);
    });
  }
}

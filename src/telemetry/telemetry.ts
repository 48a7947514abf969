import type { Limits } from '../config/limits.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Service } from '../kernel/service.ts';
import { openSink } from './sink.ts';
export interface Telemetry extends Service { gauges(): { rssBytes: number; heapBytes: number; loopP99Ms: number; loopMaxMs: number }; counts(): Readonly<Record<string, number>>; lastFacts(): string }
export function createTelemetry(parts: { kernel: Kernel; role: 'hub' | 'control'; slot: number; limits: Limits; env: NodeJS.ProcessEnv; runDir: string; version: string }): Telemetry {
  const sink = openSink({ fd: 1, maxBytes: 1048576 });
  return { name: 'telemetry', start: async () => { parts.kernel.bus.listen((f) => sink.write(`${JSON.stringify({ role: parts.role, slot: parts.slot, ...f, ...('fault' in f ? { fault: String((f.fault as Error)?.stack ?? f.fault) } : {}) })}\n`)); }, stop: async () => {}, gauges: () => { const m = process.memoryUsage(); return { rssBytes: m.rss, heapBytes: m.heapUsed, loopP99Ms: 0, loopMaxMs: 0 }; }, counts: () => ({}), lastFacts: () => '' };
}

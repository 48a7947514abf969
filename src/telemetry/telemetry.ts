/**
 * The telemetry service: opens the sink, subscribes to the event bus, measures the process, runs the stall watcher.
 * Guarantees: never waits for a reader, a disk or a thread; an event costs microseconds; `stop` flushes within its
 * deadline.
 */
import type { Limits } from '../config/limits.ts';
import type { HubEvent } from '../model/events.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Service } from '../runtime/service.ts';
import { levelOf, lineOf } from './event-lines.ts';
import { Figures } from './figures.ts';
import { LastEvents } from './last-events.ts';
import { createLog, type Log, levelFrom } from './log.ts';
import { type Gauges, LoopGauge } from './loop-gauge.ts';
import { openSink, type Sink } from './sink.ts';
import { StallWatcher } from './stall-watcher.ts';

export interface Telemetry extends Service {
  gauges(): Gauges;
  /** Counts by event, outcome, code and server. */
  counts(): Readonly<Record<string, number>>;
  /** The last ten or so important events, at most 1 KiB of text, for the supervisor's crash report. */
  lastFacts(): string;
}

export interface TelemetryOptions {
  readonly runtime: Runtime;
  readonly role: 'hub' | 'control';
  readonly slot: number;
  readonly limits: Pick<Limits, 'logBytes'>;
  /** LOG_LEVEL, NO_COLOR, CI, MCPHUB_STALL_WITNESS. */
  readonly env: NodeJS.ProcessEnv;
  readonly runDir: string;
  readonly version: string;
}

const STDOUT = 1;
/** Longest time in ms for the reader to take the rest of the queue when the process exits. */
const FLUSH_MS = 300;

export function createTelemetry(options: TelemetryOptions): Telemetry {
  const { runtime } = options;
  const figures = new Figures(runtime.ceilings);
  const last = new LastEvents(runtime.clock, runtime.ceilings);
  const gauge = new LoopGauge(runtime);
  const witness = new StallWatcher({ ...options, execArgv: process.execArgv });
  let open: { readonly sink: Sink; readonly unsubscribe: () => void } | undefined;

  return {
    name: 'telemetry',
    async start() {
      if (open) return;
      const sink: Sink = openSink({
        fd: STDOUT,
        maxBytes: () => options.limits.logBytes,
        droppedLine: (lines) => log.render({ type: 'log-dropped', lines }),
      });
      const log = logOver(sink, options);
      let reported = 0;
      const eachSecond = (): void => {
        log.sweep();
        const lines = sink.dropped() - reported;
        reported += lines;
        if (lines > 0) runtime.bus.publish({ type: 'log-dropped', lines });
      };
      const unsubscribe = runtime.bus.listen((fact: HubEvent) => {
        figures.note(fact);
        last.note(fact, levelOf, lineOf);
        log.fact(fact);
      });
      open = { sink, unsubscribe };
      gauge.start(eachSecond);
      witness.start();
    },
    async stop(deadline: Deadline) {
      const closing = open;
      open = undefined;
      if (!closing) return;
      gauge.stop();
      witness.stop();
      await closing.sink.flush(Math.min(FLUSH_MS, deadline.remainingMs()));
      closing.unsubscribe();
      closing.sink.close();
    },
    gauges: () => gauge.read(),
    counts: () => figures.table(),
    lastFacts: () => last.text(),
  };
}

function logOver(sink: Sink, { runtime, env, version, role, slot }: TelemetryOptions): Log {
  const isPerson = sink.kind === 'terminal' && !env.CI;
  return createLog({
    runtime,
    write: (line) => sink.write(line),
    level: levelFrom(env.LOG_LEVEL),
    person: isPerson ? { colour: !env.NO_COLOR && env.TERM !== 'dumb' } : undefined,
    base: { version, role, slot },
  });
}

/**
 * Writes events as log lines: JSON in the format of pino, or short lines for people at a terminal. `sink.ts` writes to
 * the descriptor, `event-lines.ts` defines the texts.
 * Guarantees: one line per event, one JSON object per line; repeated warnings are counted instead of written; control
 * characters and characters that change the text direction never reach a terminal, in JSON lines either. The line of an
 * answered call is built by hand, because it is the hot path.
 */
import type { HubEvent } from '../model/events.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { callLine } from './call-line.ts';
import { type Level, levelOf, levelOfCall, lineOf, type RequestPipeline, sameness } from './event-lines.ts';
import { printableJson } from './mask.ts';
import { Repeats } from './repeats.ts';
import { terminalLine } from './terminal-line.ts';

const RANK: Readonly<Record<Level, number>> = { debug: 20, info: 30, warn: 40, error: 50 };

export interface LogOptions {
  readonly runtime: Pick<Runtime, 'clock' | 'ceilings'>;
  readonly write: (line: string) => void;
  readonly level: Level;
  /** Short lines for people instead of JSON. */
  readonly person: { readonly colour: boolean } | undefined;
  readonly base: { readonly version: string; readonly role: string; readonly slot: number };
}

export interface Log {
  fact(fact: HubEvent): void;
  /**
   * Returns the line of an event as text with its newline, whatever the level, for callers that write it themselves.
   */
  render(fact: HubEvent): string;
  /** Runs once a second and reports how many repeats were left out. */
  sweep(): void;
}

/** Returns the level by name (LOG_LEVEL); info when it is missing or unknown. */
export function levelFrom(text: string | undefined): Level {
  const name = text?.trim().toLowerCase() ?? '';
  if (name === 'trace') return 'debug';
  if (name === 'fatal') return 'error';
  return name === 'debug' || name === 'warn' || name === 'error' ? name : 'info';
}

export function createLog(options: LogOptions): Log {
  const { runtime, write, person, base } = options;
  const least = RANK[options.level];
  const repeats = new Repeats<HubEvent>(runtime.clock, runtime.ceilings);
  const fast = callLine(runtime.clock, { service: 'mcphub', ...base });

  function writeLine(fact: HubEvent, line: RequestPipeline, leftOut: number): void {
    const fields = leftOut > 0 ? { ...line.fields, left_out: leftOut } : line.fields;
    const { level, msg } = line;
    if (person)
      write(terminalLine({ level, msg, fields, role: base.role, atMs: runtime.clock.wallMs() }, person.colour));
    else write(jsonLine(options, { level, msg, fields: { event: fact.type, ...fields } }));
  }

  return {
    fact(fact) {
      // The sink reports lost lines itself, at the place where they are missing.
      if (fact.type === 'log-dropped') return;
      if (fact.type === 'call-answered' && !person) {
        const level = levelOfCall(fact.code);
        if (RANK[level] >= least) write(fast(fact, level));
        return;
      }
      const level = levelOf(fact);
      if (RANK[level] < least) return;
      if (RANK[level] >= RANK.warn && fact.type !== 'call-answered' && !repeats.allows(sameness(fact), fact)) return;
      const line = lineOf(fact);
      writeLine(fact, line, 0);
    },
    render(fact) {
      const { level, msg, fields } = lineOf(fact);
      if (person)
        return terminalLine({ level, msg, fields, role: base.role, atMs: runtime.clock.wallMs() }, person.colour);
      return jsonLine(options, { level, msg, fields: { event: fact.type, ...fields } });
    },
    sweep() {
      repeats.sweep((last, count) => writeLine(last, lineOf(last), count));
    },
  };
}

/** Returns the line of an event, whose texts are masked and cut already, with its newline. */
function jsonLine({ runtime, base }: LogOptions, { level, msg, fields }: RequestPipeline): string {
  const time = new Date(runtime.clock.wallMs()).toISOString();
  return printableJson(`${JSON.stringify({ level, time, service: 'mcphub', ...base, ...fields, msg })}\n`);
}

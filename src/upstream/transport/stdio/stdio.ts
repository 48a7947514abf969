/**
 * Transport to a child process over stdin and stdout. It owns a process group, its pipes, and marked descendants.
 * Guarantees: `send` never waits and holds at most `stdinBytes` (or one larger message); a child that stops reading,
 * writes an endless line or exits is ended and reported by one `closed`; after `closed` or `stop` only last lines of
 * stderr follow. An instance is used once: a restart creates another one.
 */

import { HubError } from '../../../model/errors.ts';
import { type Outcome, Refusal } from '../../../model/outcome.ts';
import { sentence } from '../../../model/sentence.ts';
import { answerScan } from '../../../protocol/answer.ts';
import type { Envelope } from '../../../protocol/message.ts';
import { isBatch } from '../../../protocol/scan.ts';
import type { Deadline } from '../../../runtime/deadline.ts';
import { StdinQueue } from '../../../subprocess/io/stdin-queue.ts';
import { type ChildDeps, exitFault, prepareChild } from '../../../subprocess/prepare/prepare.ts';
import { type Child, type ChildExit, startChild } from '../../../subprocess/spawn/child.ts';
import { brokenFault, mixedFault } from '../../connection/invalid-answer.ts';
import { QuotedReplies } from '../../connection/quoted-replies.ts';
import { guardedEvents } from '../guarded-events.ts';
import type { Transport, TransportEvents } from '../transport.ts';
import { Frames } from './frames.ts';

/** Time from a closed pipe to the exit that explains it, ms. */
const EXIT_MS = 500;

export interface StdioOptions extends ChildDeps {
  readonly events: TransportEvents;
}

export function createStdioTransport(options: StdioOptions): Transport & { readonly pid: number | undefined } {
  return new StdioTransport(options);
}

class StdioTransport implements Transport {
  readonly #options: StdioOptions;
  #starting: Deadline | undefined;
  #child: Child | undefined;
  #stdin: StdinQueue | undefined;
  #frames: Frames | undefined;
  readonly #quoted = new QuotedReplies();
  #installKey: string | undefined;
  /** It has sent a message: its package is complete. */
  #spoke = false;
  /** `closed` was called, or `stop`. */
  #over = false;
  #used = false;
  /** Size of the last request. */
  #requestBytes = 0;

  constructor(options: StdioOptions) {
    const events = guardedEvents(options.events, options.runtime, options.spec.slug, () => false);
    this.#options = { ...options, events };
  }

  /** Process id of the group's leader, once started. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async start(deadline: Deadline): Promise<void> {
    if (this.#used) throw new HubError('internal', { message: 'a stdio transport starts once' });
    if (this.#over) throw stoppedFault(this.#options.spec.slug);
    this.#used = true;
    const { events } = this.#options;
    using own = deadline.sooner(deadline.remainingMs());
    this.#starting = own;
    const { plan, installKey } = await prepareChild(
      this.#options,
      {
        stdin: 'pipe',
        stdout: 'frames',
        phase: (phase) => (this.#over ? undefined : events.phase(phase)),
        said: events.said,
      },
      own,
    );
    this.#installKey = installKey;
    const child = await startChild(
      plan,
      {
        said: (line) => events.said(line),
        alive: () => this.#over || events.alive(undefined),
        exited: (exit) => this.#exited(exit),
      },
      own,
    );
    this.#child = child;
    this.#connect(child);
    this.#starting = undefined;
    if (this.#over) {
      child.kill('SIGKILL');
      throw stoppedFault(plan.owner);
    }
  }

  #connect(child: Child): void {
    const { runtime, limits, events, spec } = this.#options;
    if (!child.stdin || !child.stdout) throw new HubError('internal', { message: 'a child without pipes' });
    this.#stdin = new StdinQueue(child.stdin, {
      runtime,
      maxBytes: limits.stdinBytes,
      stuckMs: limits.stdinStuckMs,
      stuck: (unreadBytes, silentMs) => this.#fail(stuckFault(spec.slug, unreadBytes, silentMs)),
      broken: () => this.#deaf('stdin'),
    });
    this.#frames = new Frames(child.stdout, {
      runtime,
      server: spec.slug,
      maxLineBytes: limits.stdioLineBytes,
      scan: answerScan(limits),
      maxBatch: limits.batch,
      quoted: this.#quoted,
      message: (envelope) => this.#message(envelope),
      unreadable: (ids, why, line) => this.#unreadable(ids, why, line),
      alive: () => this.#over || events.alive(undefined),
      said: (line) => this.#over || events.said(line),
      tooLong: () => this.#fail(tooLongFault(spec.slug, limits.stdioLineBytes)),
      ended: () => this.#deaf('stdout'),
    });
  }

  send(frame: Buffer, id: number | undefined, _deadline: Deadline): Outcome<void> {
    const { spec, limits } = this.#options;
    const stdin = this.#stdin;
    if (this.#over || !stdin || stdin.over || this.#child?.exit !== undefined) {
      return new Refusal('server-down', undefined, { server: spec.slug, outcome: 'not-executed' });
    }
    this.#quoted.sent(frame);
    if (id !== undefined) this.#requestBytes = frame.length;
    if (stdin.push(frame, id)) return undefined;
    return new Refusal('upstream-stuck', undefined, {
      server: spec.slug,
      outcome: 'not-executed',
      unreadBytes: stdin.unreadBytes,
      limitBytes: limits.stdinBytes,
      setting: 'stdinBytes',
    });
  }

  get mayQuoteUnowned(): boolean {
    return this.#quoted.mayUnowned;
  }

  abort(id: number): boolean {
    // Requests share one pipe: bytes that are in it cannot be cancelled.
    return this.#stdin?.withdraw(id) !== true;
  }

  forgetSession(): void {}

  negotiated(): void {
    // The wire is the same in every version.
  }

  cpuMs(): number | undefined {
    return this.#child?.cpuMs();
  }

  cpuReadMs(): number | undefined {
    return this.#child?.cpuReadMs();
  }

  stderrTail(): readonly string[] {
    const stray = this.#frames?.strayLine;
    return [...(this.#child?.tail() ?? []), ...(stray === undefined ? [] : [`stdout, no message: ${stray}`])];
  }

  signs(): readonly string[] {
    const line = this.#child?.tail().at(-1);
    const stray = this.#frames?.strayLine;
    return [
      line === undefined ? 'It wrote nothing to stderr.' : `Its last line on stderr: ${sentence(line)}`,
      ...(stray === undefined ? [] : [`Its last line on stdout that is not a message: ${sentence(stray)}`]),
    ];
  }

  async stop(deadline: Deadline): Promise<void> {
    this.#end();
    this.#starting?.end('stopped');
    await this.#child?.stop(() => this.#stdin?.end(), deadline);
  }

  #message(envelope: Envelope): void {
    if (this.#over) return;
    this.#spoke = true;
    this.#options.events.message(envelope, undefined);
  }

  #unreadable(ids: readonly number[], why: Refusal, line: Buffer): void {
    if (this.#over) return;
    const { events, spec } = this.#options;
    if (ids.length === 0) events.unreadable(brokenFault(spec.slug, why, line));
    const isMixed = ids.length > 1 && !isBatch(line);
    for (const id of ids) events.failed(id, isMixed ? mixedFault(spec.slug, line) : brokenFault(spec.slug, why, line));
  }

  #exited(exit: ChildExit): void {
    const { spec, process } = this.#options;
    const lastWords = this.#child?.lastWords() ?? '';
    const close = () => {
      const { isCut, strayLine: stray } = this.#frames ?? {};
      const words = { lastWords, stray, isCut, requestBytes: this.#requestBytes, env: process.env };
      this.#close(exitFault(spec.slug, exit, words));
    };
    if (this.#frames) this.#frames.whenEmpty(close);
    else close();
  }

  /**
   * It has closed a pipe and is probably about to exit, which gives a better reason. If it does not exit, it cannot
   * serve and is ended.
   */
  #deaf(pipe: 'stdin' | 'stdout'): void {
    if (this.#over) return;
    const { runtime, spec } = this.#options;
    runtime.timers.after(EXIT_MS, () => {
      if (this.#child?.exit === undefined) this.#fail(deafFault(spec.slug, pipe));
    });
  }

  #fail(fault: HubError): void {
    if (this.#over) return;
    this.#child?.kill('SIGKILL');
    this.#close(fault);
  }

  #close(fault: HubError): void {
    if (this.#over) return;
    this.#end();
    this.#options.events.closed(fault);
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#frames?.mute();
    if (this.#installKey !== undefined && !this.#spoke) this.#options.installLock.doubt(this.#installKey);
  }
}

function stoppedFault(server: string): HubError {
  return new HubError('server-down', { message: `${server} was stopped while it started.`, detail: { server } });
}

function deafFault(server: string, pipe: string): HubError {
  return new HubError('upstream-gone', {
    message: `${server} closed its ${pipe} and did not exit; it is restarted.`,
    detail: { server, phase: 'call', outcome: 'unknown' },
  });
}

function stuckFault(server: string, unreadBytes: number, silentMs: number): HubError {
  const waitedMs = Math.round(silentMs);
  return new HubError('upstream-stuck', {
    message: `${server} has taken nothing from its stdin for ${waitedMs} ms while ${unreadBytes} bytes wait; it is restarted.`,
    detail: { server, phase: 'call', waitedMs, unreadBytes, setting: 'stdinStuckMs' },
  });
}

function tooLongFault(server: string, limitBytes: number): HubError {
  return new HubError('upstream-too-large', {
    message: `${server} wrote a line longer than ${limitBytes} bytes (setting stdioLineBytes); it is restarted.`,
    detail: { server, phase: 'call', limitBytes, setting: 'stdioLineBytes', outcome: 'unknown' },
  });
}

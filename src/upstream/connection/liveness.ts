/**
 * Five seconds of silence: whether a server that does not answer is at work or gone; and whether one that answers is well.
 * Promises: half-way to the cut (at most `questionMs`) one question goes out, shared by all calls; bytes, progress, its answer, stderr or CPU
 * time of a child are signs of life and re-arm the watch; a call without any ends at `silenceMs`, its request is closed and cancelled upstream;
 * an answer to a question from before such a cut raises this server's limit, visibly, so that a busy server is wronged once at most; a server
 * that answers no ping but lists is well, and is asked for a list from then on.
 * Source: architecture.md §3.
 */
import type { Limits } from '../../config/limits.ts';
import type { ErrorCode } from '../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import { OTHER_CALL_AT_WORK } from '../failure-signs.ts';
import type { Transport } from '../transport/transport.ts';
import type { Correlator } from './correlator.ts';
import type { PendingRequest } from './pending-request.ts';

/** CPU time that counts as being at work, ms. */
const CPU_SIGN_MS = 50;
/** By then a reading that was asked for is there, ms. */
const CPU_FRESH_MS = 500;
const EMPTY = Buffer.from('{}');
const PING = 'ping';
/** Pings in a row that failed where a list did not: from then on the list is what is asked. */
const PINGLESS = 2;
const METHOD_NOT_FOUND = -32601;
const QUOTE_BYTES = 500;
/** Answers, but not the one that was asked for. */
const WRONG_ANSWERS: ReadonlySet<ErrorCode> = new Set([
  'upstream-http',
  'upstream-auth',
  'upstream-protocol',
  'upstream-invalid',
]);

/** What a question says of a server: `failing` = it answers with errors only, `forgotten` = it does not know the session. */
export type Condition = 'well' | 'failing' | 'forgotten' | 'silent';

export interface LivenessParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
  readonly transport: Transport;
  /** What it has said of itself; undefined = nothing yet. */
  readonly hello: () => InitializeResult | undefined;
  /** The list that says whether it works. */
  readonly list: () => string;
  /** The server's limit was too short for it. */
  readonly raise: (silenceMs: number) => void;
}

export class Liveness {
  readonly #parts: LivenessParts;
  /** The question that is out. An answer may come late, so that a few old ones can be out beside it. */
  #question: { readonly answer: Promise<Condition>; readonly askedMs: number } | undefined;
  /** When a call was last cut for silence. */
  #cutMs = -1;
  /** When anything last came from the server. */
  #seenMs: number;
  #cpuMs: number | undefined;
  /** Why the last question that was answered with an error was. */
  #fault: Refusal | undefined;
  /** Pings in a row that failed. */
  #pingFaults = 0;
  /** The last question of `examine` was not answered: the next is another one. */
  #isOtherNext = false;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#seenMs = parts.runtime.clock.nowMs();
  }

  /** Something came: a message, bytes, a line of stderr. Returns the time, for others that want it. */
  seen(): number {
    this.#seenMs = this.#parts.runtime.clock.nowMs();
    return this.#seenMs;
  }

  silent(pending: PendingRequest): void {
    const { runtime, transport } = this.#parts;
    const { silence } = pending.plan;
    // The figure at hand may be as old as the child, and its start would count as work on this call (10 s of silence and not 5, measured). A
    // fresh one is on its way.
    pending.cpuMs = undefined;
    transport.cpuMs();
    const freshMs = Math.min(CPU_FRESH_MS, (silence?.silenceMs ?? CPU_FRESH_MS) / 4);
    runtime.timers.after(freshMs, () => {
      if (!pending.over) pending.cpuMs = transport.cpuMs();
    });
    void this.#ask();
  }

  tooSilent(pending: PendingRequest, silentMs: number): void {
    const { correlator, server, runtime } = this.#parts;
    if (this.#hasWorked(pending)) {
      pending.touch();
      return;
    }
    const nowMs = runtime.clock.nowMs();
    this.#cutMs = nowMs;
    correlator.cancel(pending, 'no sign of life');
    const waitedMs = Math.round(nowMs - pending.sentMs);
    const silence = Math.round(silentMs);
    const longerMs = this.#longerSilenceMs(pending);
    const busy =
      longerMs === undefined ? '' : ` Another call, which may be silent for ${longerMs} ms, is at work on this server.`;
    pending.settle(
      new Refusal(
        'upstream-silent',
        `${server} gave no sign of life for ${silence} ms in phase call (${pending.plan.method}, ${waitedMs} ms after it was sent); the setting silenceMs of the server or tool allows more.${busy}`,
        {
          ...{ server, phase: 'call', waitedMs, silentMs: silence, setting: 'silenceMs', outcome: 'unknown' },
          ...(longerMs === undefined ? {} : { reason: OTHER_CALL_AT_WORK }),
        },
      ),
    );
  }

  /** The longest silence that is allowed to another call in flight, where it is longer than that of `flight`, ms. */
  #longerSilenceMs(pending: PendingRequest): number | undefined {
    const own = pending.plan.silence;
    const other = this.#parts.correlator.newest(
      ({ plan }) => own !== undefined && plan.silence !== undefined && plan.silence.silenceMs > own.silenceMs,
    );
    return other?.plan.silence?.silenceMs;
  }

  /** Whether it is well. Never rejects; ends within 2 × `pingMs`. */
  async isAlive(): Promise<boolean> {
    return (await this.examine()) === 'well';
  }

  /**
   * Asks ping; where the server answers with an error, a list at once, and where it does not answer, a list the next time: an answer to either
   * is enough. Never rejects; ends within 2 × `pingMs`.
   */
  async examine(): Promise<Condition> {
    const [usual, other] = this.#pingFaults < PINGLESS ? [PING, this.#list] : [this.#list, PING];
    const method = this.#isOtherNext ? other : usual;
    const condition = await this.#inTime(() => (method === usual ? this.#ask() : this.#askOnce(method)));
    this.#isOtherNext = condition === 'silent' && method === usual;
    if (condition === 'well' || condition === 'silent') return condition;
    const second = await this.#inTime(() => this.#askOnce(method === usual ? other : usual));
    return second === 'silent' ? condition : second;
  }

  /** Asks now, unless a question is out; what comes of it is a sign of life as any other. */
  question(): void {
    void this.#ask();
  }

  /** Asks for a list. Never rejects; ends within `pingMs`. */
  examineList(): Promise<Condition> {
    return this.#inTime(() => this.#askOnce(this.#list));
  }

  /** What it answered when it was last failing. */
  get fault(): Refusal | undefined {
    return this.#fault;
  }

  get #list(): string {
    return this.#parts.list();
  }

  async #inTime(ask: () => Promise<Condition>): Promise<Condition> {
    const { runtime, limits, server } = this.#parts;
    using deadline = runtime.deadline(limits.pingMs);
    try {
      return await runtime.waits.for(ask(), { label: 'upstream-ping', owner: server, deadline });
    } catch {
      return 'silent';
    }
  }

  /** Whether it did anything within the last `withinMs`, or used CPU since this was last asked. */
  showsLife(withinMs: number): boolean {
    const cpuMs = this.#parts.transport.cpuMs();
    const grown = cpuMs !== undefined && this.#cpuMs !== undefined && cpuMs - this.#cpuMs >= CPU_SIGN_MS;
    this.#cpuMs = cpuMs;
    return grown || this.#parts.runtime.clock.nowMs() - this.#seenMs < withinMs;
  }

  /** The child has used CPU since it was last looked at for this call. */
  #hasWorked(pending: PendingRequest): boolean {
    const nowMs = this.#parts.transport.cpuMs();
    const beforeMs = pending.cpuMs;
    pending.cpuMs = nowMs;
    return nowMs !== undefined && beforeMs !== undefined && nowMs - beforeMs >= CPU_SIGN_MS;
  }

  /** One question for everybody. One that is older than `pingMs` may be lost (a dead socket): another goes out beside it. */
  #ask(): Promise<Condition> {
    const { runtime, limits } = this.#parts;
    const nowMs = runtime.clock.nowMs();
    if (this.#question && nowMs - this.#question.askedMs < limits.pingMs) return this.#question.answer;
    const answer = this.#askOnce(this.#pingFaults < PINGLESS ? PING : this.#list);
    const question = { answer, askedMs: nowMs };
    this.#question = question;
    void question.answer.then(() => {
      if (this.#question === question) this.#question = undefined;
    });
    return question.answer;
  }

  /** Never rejects. */
  async #askOnce(method: string): Promise<Condition> {
    const { runtime, limits, server, correlator } = this.#parts;
    const askedMs = runtime.clock.nowMs();
    // It may be answered late, when a busy server gets round to it; that too is news.
    using deadline = runtime.deadline(limits.silenceRaisedMs);
    const answer = await correlator.ask(
      {
        method,
        label: 'upstream-ping',
        owner: server,
        deadline,
        setting: 'pingMs',
        back: SILENT_BACK_CHANNEL,
        silence: undefined,
      },
      () => EMPTY,
    );
    const condition = this.#conditionOf(method, answer);
    if (method === PING) this.#pingFaults = condition === 'well' ? 0 : this.#pingFaults + 1;
    if (isRefusal(answer)) return condition;
    if (this.#cutMs >= askedMs) this.#parts.raise(limits.silenceRaisedMs);
    correlator.alive(undefined);
    return condition;
  }

  #conditionOf(method: string, answer: Outcome<UpstreamReply>): Condition {
    if (isRefusal(answer)) {
      if (answer.code === 'upstream-session') return 'forgotten';
      if (!WRONG_ANSWERS.has(answer.code)) return 'silent';
      this.#fault = answer;
      return 'failing';
    }
    if (answer.kind !== 'error') return 'well';
    // A server need not know ping or a list; in the stateless era the question is server/discover, which each one knows.
    const mayLack = method !== PING || this.#parts.hello()?.version !== VERSION_2026;
    if (mayLack && errorCode(answer.json) === METHOD_NOT_FOUND) return 'well';
    const words = answer.json.toString('utf8', 0, QUOTE_BYTES);
    this.#fault = new Refusal('upstream-protocol', `It refuses ${method}.`, {
      phase: 'ping',
      operator: { body: words },
    });
    return 'failing';
  }
}

/**
 * Decides whether a server that does not answer is working or unreachable, and whether one that answers is healthy.
 * Guarantees: half-way to the cut (at most `questionMs`) one probe is sent for all calls; bytes, progress, its answer,
 * stderr and CPU time of a child re-arm the watch; a call without them ends at `silenceMs` and is cancelled; an answer
 * that comes after the cut raises the server's limit; a server that answers lists but no ping is probed with a list.
 */
import type { Limits } from '../../config/limits.ts';
import type { ErrorCode } from '../../model/errors.ts';
import { isRefusal, type Outcome, Refusal } from '../../model/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../../protocol/back-channel.ts';
import { errorCode } from '../../protocol/era-2026/outgoing.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import { CallBudget } from '../../runtime/call-budget.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { UpstreamReply } from '../call.ts';
import { OTHER_CALL_AT_WORK } from '../failure-signs.ts';
import type { Transport } from '../transport/transport.ts';
import type { ConnectionReports } from './connection-parts.ts';
import type { Correlator } from './correlator.ts';
import type { PendingRequest, SilenceWatch } from './pending-request.ts';
import type { ServerProfile } from './server-profile.ts';

/** CPU time that counts as a sign of life, ms. */
const CPU_SIGN_MS = 50;
/** Time within which a requested reading arrives, ms. */
const CPU_FRESH_MS = 500;
const EMPTY = Buffer.from('{}');
const PING = 'ping';
/** After this many pings in a row that failed although a list succeeded, the list is the probe. */
const PINGLESS = 2;
const METHOD_NOT_FOUND = -32601;
const QUOTE_BYTES = 500;
/** Answers that are not those that were requested. */
const WRONG_ANSWERS: ReadonlySet<ErrorCode> = new Set([
  'upstream-http',
  'upstream-auth',
  'upstream-protocol',
  'upstream-invalid',
]);

/** The result of a probe. `failing`: it answers with errors only; `forgotten`: it does not know the session. */
export type Condition = 'well' | 'failing' | 'forgotten' | 'silent';

export interface LivenessParts {
  readonly runtime: Runtime;
  readonly limits: Limits;
  readonly server: string;
  readonly correlator: Correlator;
  readonly transport: Transport;
  readonly profile: Pick<ServerProfile, 'hello' | 'probeList'>;
  readonly owner: Pick<ConnectionReports, 'raise'>;
}

export class Liveness implements SilenceWatch {
  readonly #parts: LivenessParts;
  /** The current probe. Answers may come late, so that a few old ones can be pending beside it. */
  #question: { readonly answer: Promise<Condition>; readonly askedMs: number } | undefined;
  /** When a call last ended because of silence. */
  #cutMs = -1;
  /** When anything was last received from the server. */
  #seenMs: number;
  #cpuMs: number | undefined;
  /** The error that last answered a probe. */
  #fault: Refusal | undefined;
  /** Number of pings in a row that failed. */
  #pingFaults = 0;
  /** The last probe of `examine` was not answered: the next one uses the other method. */
  #isOtherNext = false;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
    this.#seenMs = parts.runtime.clock.nowMs();
  }

  /** Records that something was received: a message, bytes, a line of stderr. Returns the current time, for reuse. */
  seen(): number {
    this.#seenMs = this.#parts.runtime.clock.nowMs();
    return this.#seenMs;
  }

  silent(pending: PendingRequest): void {
    const { runtime, transport } = this.#parts;
    const { silenceMs = CPU_FRESH_MS } = pending.plan.budget;
    // The available figure may be as old as the child, and its start would count as work on this call (10 s of silence
    // instead of 5, measured). A new one has been requested.
    pending.cpuMs = undefined;
    transport.cpuMs();
    const freshMs = Math.min(CPU_FRESH_MS, silenceMs / 4);
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
    correlator.cancel(pending, 'no response in time');
    const waitedMs = Math.round(nowMs - pending.sentMs);
    const silence = Math.round(silentMs);
    const longerMs = this.#longerSilenceMs(pending);
    const busy =
      longerMs === undefined ? '' : ` Another call, which may be silent for ${longerMs} ms, is at work on this server.`;
    pending.settle(
      new Refusal(
        'upstream-silent',
        `${server} did not respond for ${silence} ms in phase call (${pending.plan.method}, ${waitedMs} ms after it was sent); ` +
          `the setting silenceMs of the server or tool allows more.${busy}`,
        {
          server,
          phase: 'call',
          waitedMs,
          silentMs: silence,
          setting: 'silenceMs',
          outcome: 'unknown',
          ...(longerMs === undefined ? {} : { reason: OTHER_CALL_AT_WORK }),
        },
      ),
    );
  }

  /** Returns the longest silence limit of the other pending calls, if it is longer than that of `pending`, ms. */
  #longerSilenceMs(pending: PendingRequest): number | undefined {
    const own = pending.plan.budget.silenceMs;
    const isLonger = (ms: number | undefined) => own !== undefined && ms !== undefined && ms > own;
    return this.#parts.correlator.newest(({ plan }) => isLonger(plan.budget.silenceMs))?.plan.budget.silenceMs;
  }

  /** Tells whether the server is healthy. Never rejects; ends within 2 × `pingMs`. */
  async isAlive(): Promise<boolean> {
    return (await this.examine()) === 'well';
  }

  /**
   * Sends a ping. If the server answers with an error, requests a list at once; if it does not answer, requests a list
   * the next time. An answer to either is enough. Never rejects; ends within 2 × `pingMs`.
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

  /** Sends a probe unless one is pending; its answer is a sign of life. */
  question(): void {
    void this.#ask();
  }

  /** Requests a list. Never rejects; ends within `pingMs`. */
  examineList(): Promise<Condition> {
    return this.#inTime(() => this.#askOnce(this.#list));
  }

  /** The error that it last returned while failing. */
  get fault(): Refusal | undefined {
    return this.#fault;
  }

  get #list(): string {
    return this.#parts.profile.probeList;
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

  /**
   * Tells whether there was a sign of life within the last `withinMs`, or CPU use since the last call of this method.
   */
  showsLife(withinMs: number): boolean {
    const cpuMs = this.#parts.transport.cpuMs();
    const grown = cpuMs !== undefined && this.#cpuMs !== undefined && cpuMs - this.#cpuMs >= CPU_SIGN_MS;
    this.#cpuMs = cpuMs;
    return grown || this.#parts.runtime.clock.nowMs() - this.#seenMs < withinMs;
  }

  /** Tells whether the child has used CPU since this was last checked for the call. */
  #hasWorked(pending: PendingRequest): boolean {
    const nowMs = this.#parts.transport.cpuMs();
    const beforeMs = pending.cpuMs;
    pending.cpuMs = nowMs;
    return nowMs !== undefined && beforeMs !== undefined && nowMs - beforeMs >= CPU_SIGN_MS;
  }

  /** Sends one probe for all calls. One older than `pingMs` may be lost (a dead socket): another is sent beside it. */
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
    // A busy server may answer late; the answer still counts.
    using deadline = runtime.deadline(limits.silenceRaisedMs);
    const answer = await correlator.ask(
      {
        method,
        label: 'upstream-ping',
        owner: server,
        budget: new CallBudget(deadline, 'pingMs'),
        back: SILENT_BACK_CHANNEL,
      },
      () => EMPTY,
    );
    const condition = this.#conditionOf(method, answer);
    if (method === PING) this.#pingFaults = condition === 'well' ? 0 : this.#pingFaults + 1;
    if (isRefusal(answer)) return condition;
    if (this.#cutMs >= askedMs) this.#parts.owner.raise(limits.silenceRaisedMs);
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
    // A server may lack ping or a list. In the stateless era the probe is server/discover, which every server must
    // support.
    const mayLack = method !== PING || this.#parts.profile.hello?.version !== VERSION_2026;
    if (mayLack && errorCode(answer.json) === METHOD_NOT_FOUND) return 'well';
    const words = answer.json.toString('utf8', 0, QUOTE_BYTES);
    this.#fault = new Refusal('upstream-protocol', `It refuses ${method}.`, {
      phase: 'ping',
      operator: { body: words },
    });
    return 'failing';
  }
}

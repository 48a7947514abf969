/**
 * Calls whose stateless server asks its user (`input_required`): its requests become those of the 2025 era, and the
 * answers go back in a second request (specification 2026-07-28, multi round-trip requests).
 * Guarantees: rounds, requests and bytes are limited; an answer belongs to one request of one call; cancelled calls are
 * forgotten.
 */
import { jsonBytes } from '../../protocol/json-text.ts';
import type { SentRequest } from './sent-requests.ts';

/** One server request, in the form of the 2025 era. */
export interface InputQuestion {
  /** Raw JSON text of its id. */
  readonly idRaw: string;
  readonly method: string;
  readonly params: Buffer;
}

export interface InputRetry {
  readonly kind: 'again';
  readonly id: number;
  readonly first: SentRequest;
  /** For the params of the next request, without braces. */
  readonly members: string;
}

/** The result of an answer. */
export type InputStep =
  | { readonly kind: 'wait' }
  /** All answers have arrived. */
  | InputRetry
  | { readonly kind: 'refused'; readonly id: number; readonly first: SentRequest; readonly why: string };

interface Round {
  readonly first: SentRequest;
  count: number;
  requestState: unknown;
  /** The server's keys by the ids of the hub's requests; the remaining ones have no answer yet. */
  readonly open: Map<string, string>; // bounded by: MOST_QUESTIONS
  readonly answers: Map<string, unknown>; // bounded by: MOST_QUESTIONS
}

const MOST_ROUNDS = 8;
const MOST_QUESTIONS = 16;
const MOST_BYTES = 1_048_576;

export class InputRounds {
  readonly #rounds = new Map<number, Round>(); // bounded by: the requests in flight
  #asked = 0;

  /**
   * `json`: the result that asks. Returns no requests when the server only wants a repetition (`again`), or a text when
   * it cannot be asked.
   */
  begin(id: number, first: SentRequest, json: Buffer): readonly InputQuestion[] | string {
    const asked = json.length > MOST_BYTES ? 'what it asks is too much' : questionsIn(json);
    if (typeof asked === 'string') {
      this.#rounds.delete(id);
      return asked;
    }
    const { requests, requestState } = asked;
    const round: Round = this.#rounds.get(id) ?? { first, count: 0, requestState, open: new Map(), answers: new Map() };
    round.count += 1;
    round.requestState = requestState;
    round.open.clear();
    round.answers.clear();
    const isNothing = requests.length === 0 && requestState === undefined;
    if (round.count > MOST_ROUNDS || requests.length > MOST_QUESTIONS || isNothing) {
      this.#rounds.delete(id);
      return isNothing ? 'it asks for nothing' : 'it asks too often';
    }
    this.#rounds.set(id, round);
    return requests.map(({ key, method, params }) => {
      this.#asked += 1;
      const idRaw = `"mcphub-round-${id}-${this.#asked}"`;
      round.open.set(idRaw, key);
      return { idRaw, method, params: jsonBytes(oldParams(params, this.#asked)) };
    });
  }

  /**
   * Returns undefined when it answers no request of the hub. `result`: JSON text; undefined for an error, whose reason
   * is `why`.
   */
  answered(idRaw: string, result: string | undefined, why: string): InputStep | undefined {
    for (const [id, round] of this.#rounds) {
      const key = round.open.get(idRaw);
      if (key === undefined) continue;
      const { first } = round;
      if (result === undefined) {
        this.#rounds.delete(id);
        return { kind: 'refused', id, first, why };
      }
      round.open.delete(idRaw);
      round.answers.set(key, JSON.parse(result));
      return round.open.size > 0 ? { kind: 'wait' } : this.again(id);
    }
    return undefined;
  }

  /** Returns how the call continues. */
  again(id: number): InputRetry | undefined {
    const round = this.#rounds.get(id);
    if (!round) return undefined;
    const { first, answers, requestState } = round;
    const responses = answers.size === 0 ? {} : { inputResponses: Object.fromEntries(answers) };
    const state = requestState === undefined ? {} : { requestState };
    return { kind: 'again', id, first, members: JSON.stringify({ ...responses, ...state }).slice(1, -1) };
  }

  /** Returns the server's own name for the request with this id. */
  keyOf(idRaw: string): string | undefined {
    for (const { open } of this.#rounds.values()) {
      const key = open.get(idRaw);
      if (key !== undefined) return key;
    }
    return undefined;
  }

  /** Returns the request of the call before any round. */
  first(id: number): SentRequest | undefined {
    return this.#rounds.get(id)?.first;
  }

  forget(id: number): void {
    this.#rounds.delete(id);
  }
}

interface InputRequests {
  readonly requests: readonly { readonly key: string; readonly method: string; readonly params: object }[];
  readonly requestState: unknown;
}

/** Returns what a result asks for, or a text that says why it is invalid. */
function questionsIn(json: Buffer): InputRequests | string {
  const { inputRequests: asked, requestState } = JSON.parse(json.toString('utf8')) as Record<string, unknown>;
  // An empty array stands for an empty object, as null does.
  const inputRequests = isEmpty(asked) ? {} : asked;
  if (!isObject(inputRequests)) return 'its inputRequests are not an object';
  const requests: { key: string; method: string; params: object }[] = []; // bounded by: MOST_BYTES
  for (const [key, request] of Object.entries(inputRequests)) {
    const { method, params: given } = isObject(request) ? request : {};
    const params = isEmpty(given) ? {} : given;
    if (typeof method !== 'string' || !isObject(params))
      return 'one of its inputRequests has no method or no valid params';
    requests.push({ key, method, params });
  }
  return { requests, requestState };
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Adds the id that a URL request has in the 2025 era. */
function oldParams(params: object, serial: number): object {
  const isVisit = 'mode' in params && params.mode === 'url' && !('elicitationId' in params);
  return isVisit ? { ...params, elicitationId: `mcphub-${serial}` } : params;
}

/**
 * Calls whose stateless server asks its user before it goes on (`input_required`): what it asks becomes questions as a server of the 2025 dates
 * would ask them, and the answers go back in a second request.
 * Promises: at most so many rounds of a call, questions of a round and bytes of either; an answer belongs to one question of one call; what is
 * called off is forgotten.
 * Does not: send, or reach the user (`era-transport.ts`, `client-questions.ts`).
 * Source: specification 2026-07-28, multi round-trip requests; protocol.md §1.7 C.
 */
import { jsonBytes } from '../../protocol/json-text.ts';
import type { SentRequest } from './sent-requests.ts';

/** One question, in the words of the 2025 dates. */
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

/** What an answer leads to. */
export type InputStep =
  | { readonly kind: 'wait' }
  /** All are there. */
  | InputRetry
  | { readonly kind: 'refused'; readonly id: number; readonly first: SentRequest; readonly why: string };

interface Round {
  readonly first: SentRequest;
  count: number;
  requestState: unknown;
  /** Keys of the server by the ids of our questions; what is left is not answered yet. */
  readonly open: Map<string, string>; // bounded by: MOST_QUESTIONS
  readonly answers: Map<string, unknown>; // bounded by: MOST_QUESTIONS
}

const MOST_ROUNDS = 8;
const MOST_QUESTIONS = 16;
const MOST_BYTES = 1_048_576;

export class InputRounds {
  readonly #rounds = new Map<number, Round>(); // bounded by: the requests in flight
  #asked = 0;

  /** `json` = the result that asks. No questions = it only wants to be asked again (`again`). A string = why it cannot be asked. */
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

  /** Undefined = it is no answer to a question of ours. `result` = JSON text; undefined = an error, and `why` says which. */
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

  /** How the call goes on. */
  again(id: number): InputRetry | undefined {
    const round = this.#rounds.get(id);
    if (!round) return undefined;
    const { first, answers, requestState } = round;
    const said = answers.size === 0 ? {} : { inputResponses: Object.fromEntries(answers) };
    const state = requestState === undefined ? {} : { requestState };
    return { kind: 'again', id, first, members: JSON.stringify({ ...said, ...state }).slice(1, -1) };
  }

  /** What the server calls the question with this id. */
  keyOf(idRaw: string): string | undefined {
    for (const { open } of this.#rounds.values()) {
      const key = open.get(idRaw);
      if (key !== undefined) return key;
    }
    return undefined;
  }

  /** What the call asked for before any round. */
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

/** What the result at hand asks for; a string = why it cannot be understood. */
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

/** A page that is to be visited has an id in the 2025 dates. */
function oldParams(params: object, serial: number): object {
  const isVisit = 'mode' in params && params.mode === 'url' && !('elicitationId' in params);
  return isVisit ? { ...params, elicitationId: `mcphub-${serial}` } : params;
}

/**
 * Collects the members of a message's envelope and decides whether they are valid.
 * Guarantees: control keys are recognised in every escaped spelling and must occur once; a key that a lenient parser
 * would take for a control key is refused; members that some libraries write empty (`"params":[]`, `"error":null`
 * beside a result) count as absent.
 */
import { type Outcome, Refusal } from '../model/outcome.ts';
import { type ParamsBounds, type ParamsCount, ParamsMembers, ResultMembers } from './_inner-members.ts';
import { decodeStart, foldedKey, keyBegins, spells } from './_scalar.ts';
import { QUOTE } from './_strict-string.ts';
import type { Budget, MemberVisitor } from './_value.ts';
import { ABSENT, type Envelope, type MessageKind, type Span } from './message.ts';
import { isEmpty } from './object-params.ts';

export type { ParamsCount };

const OPEN_OBJECT = 0x7b;
const NULL = 0x6e;
const MINUS = 0x2d;
/** Maximum envelope members that the hub does not know; a message has none or one. */
const MAX_OTHERS = 64;
/** At most this much of a method or member name is read; no name known to the hub is longer. */
const NAME_BYTES = 1024;
/** Prefix of all notification methods. */
const NOTIFICATIONS = 'notifications/';

/** The order in which `Members` numbers the control keys. */
const CONTROL_KEYS: readonly string[] = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const JSONRPC = 0;
const ID = 1;
const METHOD = 2;
const PARAMS = 3;
const RESULT = 4;
const ERROR = 5;
const POISON_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Collects the members of an envelope and returns the first fault in them. */
export class Members implements MemberVisitor {
  readonly #bytes: Buffer;
  readonly #maxIdBytes: number;
  readonly #bounds: ParamsBounds | ParamsCount | undefined;
  readonly #budget: Budget | undefined;
  /** Two numbers per control key, start and end of its value; −1 when it is absent. */
  readonly #spans = [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1]; // bounded by: CONTROL_KEYS
  #others: string[] | undefined; // bounded by: MAX_OTHERS; almost always absent
  #inParams: ParamsMembers | undefined;
  #inResult: ResultMembers | undefined;
  refusal: Refusal | undefined;

  /** `budget` is the counter of the walk over the message. */
  constructor(
    bytes: Buffer,
    maxIdBytes: number,
    bounds: ParamsBounds | ParamsCount | undefined,
    budget: Budget | undefined,
  ) {
    this.#bytes = bytes;
    this.#maxIdBytes = maxIdBytes;
    this.#bounds = bounds;
    this.#budget = budget;
  }

  member(keyAt: number, keyEnd: number, at: number, end: number): boolean {
    const plain = controlKeyAt(this.#bytes, keyAt, keyEnd);
    if (plain >= 0) return this.#control(plain, at, end);
    const key = decodeStart(this.#bytes, keyAt, keyEnd, NAME_BYTES);
    if (key === undefined) return this.#refuse('A member’s name is not a JSON string.');
    const escaped = CONTROL_KEYS.indexOf(key);
    return escaped >= 0 ? this.#control(escaped, at, end) : this.#other(key);
  }

  /** Inspects params in the same pass: a second walk over megabytes of arguments would take as long as the first. */
  innerOf(keyAt: number, keyEnd: number): MemberVisitor | undefined {
    const which = controlKeyAt(this.#bytes, keyAt, keyEnd);
    if (which === RESULT && this.#bounds && !('budget' in this.#bounds)) {
      this.#inResult = new ResultMembers(this.#bytes, this.#budget);
      return this.#inResult;
    }
    if (which !== PARAMS) return undefined;
    this.#inParams = new ParamsMembers(this.#bytes, this.#bounds);
    return this.#inParams;
  }

  #control(which: number, at: number, end: number): boolean {
    if (which === PARAMS && this.#inParams?.refusal) {
      this.refusal = this.#inParams.refusal;
      return false;
    }
    if (which === RESULT && this.#inResult?.refusal) {
      this.refusal = this.#inResult.refusal;
      return false;
    }
    if ((this.#spans[2 * which] as number) >= 0)
      return this.#refuse(`"${CONTROL_KEYS[which]}" occurs twice in the message.`);
    this.#spans[2 * which] = at;
    this.#spans[2 * which + 1] = end;
    return true;
  }

  #other(key: string): boolean {
    if (POISON_KEYS.has(key) || CONTROL_KEYS.includes(foldedKey(key)))
      return this.#refuse(`The member ${JSON.stringify(key.slice(0, 40))} is not allowed in a message.`);
    this.#others ??= [];
    if (this.#others.includes(key))
      return this.#refuse(`${JSON.stringify(key.slice(0, 40))} occurs twice in the message.`);
    if (this.#others.length >= MAX_OTHERS) return this.#refuse('The message has too many members.');
    this.#others.push(key);
    return true;
  }

  #refuse(why: string): false {
    this.refusal = new Refusal('invalid-request', why);
    return false;
  }

  #at(which: number): number {
    return this.#spans[2 * which] as number;
  }

  #end(which: number): number {
    return this.#spans[2 * which + 1] as number;
  }

  #span(which: number, from: number): Span {
    return this.#at(which) < 0 ? ABSENT : { at: this.#at(which) - from, end: this.#end(which) - from };
  }

  /** Returns true when the member is present and not null. */
  #accepts(which: number): boolean {
    const at = this.#at(which);
    return at >= 0 && this.#bytes[at] !== NULL;
  }

  /** Returns the message after its last member was collected; `at` and `end` enclose the object. */
  envelope(at: number, end: number): Outcome<Envelope> {
    const bytes = this.#bytes;
    if (this.#end(JSONRPC) - this.#at(JSONRPC) !== 5 || !spells(bytes, this.#at(JSONRPC), '"2.0"'))
      return new Refusal('invalid-request', 'The member jsonrpc must be "2.0".');
    const hasMethod = this.#accepts(METHOD);
    // A null error counts as absent beside a result, and a null result beside an error.
    const isError = !hasMethod && (this.#accepts(ERROR) || (this.#at(ERROR) >= 0 && this.#at(RESULT) < 0));
    const isNamedNotification = hasMethod && this.#isNotification();
    const idFault = this.#idFault(isError || isNamedNotification);
    if (idFault) return new Refusal('invalid-request', idFault);
    const kind = hasMethod ? this.#kindOfCall(isNamedNotification) : this.#kindOfReply(isError);
    if (kind instanceof Refusal) return kind;
    const params = this.#params(at);
    if (params === undefined) return new Refusal('invalid-params', 'The member params must be an object.');
    const method = kind === 'reply' ? '' : this.#method();
    if (method === undefined) return new Refusal('invalid-request', 'The member method must be a string.');
    return {
      bytes: at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end),
      kind,
      method,
      id: kind === 'notification' ? ABSENT : this.#span(ID, at),
      params,
      result: kind === 'reply' && !isError ? this.#span(RESULT, at) : ABSENT,
      error: isError ? this.#span(ERROR, at) : ABSENT,
      inParams: this.#inParams?.from(at),
      emptyInResult: this.#inResult?.from(at),
      emptyInsideResult: this.#inResult?.insideFrom(at),
    };
  }

  /**
   * Decides whether a message with a method is a request or a notification. Some libraries write `"id":null` into
   * notifications.
   */
  #kindOfCall(isNamedNotification: boolean): Outcome<MessageKind> {
    if (this.#accepts(RESULT) || this.#accepts(ERROR))
      return new Refusal('invalid-request', 'A request has no result and no error.');
    return this.#at(ID) < 0 || (isNamedNotification && !this.#accepts(ID)) ? 'notification' : 'request';
  }

  /** Decides whether a reply is valid. An error needs no id, because its sender may not have been able to read one. */
  #kindOfReply(isError: boolean): Outcome<MessageKind> {
    const hasBoth = isError && this.#accepts(RESULT);
    const hasResult = !isError && this.#at(RESULT) >= 0 && this.#at(ID) >= 0;
    if (hasBoth || (!isError && !hasResult))
      return new Refusal('invalid-request', 'The message has neither a method nor an id with one of result and error.');
    return 'reply';
  }

  #isNotification(): boolean {
    const at = this.#at(METHOD);
    return this.#bytes[at] === QUOTE && keyBegins(this.#bytes, at, this.#end(METHOD), NOTIFICATIONS) >= 0;
  }

  #method(): string | undefined {
    const at = this.#at(METHOD);
    return this.#bytes[at] === QUOTE ? decodeStart(this.#bytes, at, this.#end(METHOD), NAME_BYTES) : undefined;
  }

  #idFault(nullAllowed: boolean): string | undefined {
    const at = this.#at(ID);
    if (at < 0) return undefined;
    if (this.#end(ID) - at > this.#maxIdBytes) return `The id is longer than ${this.#maxIdBytes} bytes.`;
    const first = this.#bytes[at] as number;
    if (first === QUOTE || first === MINUS || (first >= 0x30 && first <= 0x39)) return undefined;
    return first === NULL && nullAllowed ? undefined : 'The id must be a string or a number.';
  }

  /**
   * Returns the span of params; null and an empty array count as absent (PHP writes an empty map as `[]`). Returns
   * undefined when params have the wrong type.
   */
  #params(from: number): Span | undefined {
    const at = this.#at(PARAMS);
    if (at < 0 || this.#bytes[at] === NULL || isEmpty(this.#bytes, { at, end: this.#end(PARAMS) })) return ABSENT;
    return this.#bytes[at] === OPEN_OBJECT ? this.#span(PARAMS, from) : undefined;
  }
}

/** Returns the number of the control key that is written without escapes between the quotes, or −1. */
function controlKeyAt(b: Buffer, at: number, end: number): number {
  const length = end - at - 2;
  const first = b[at + 1];
  let which = -1;
  if (length === 2) which = ID;
  else if (length === 5) which = ERROR;
  else if (length === 6) which = first === 0x6d ? METHOD : first === 0x70 ? PARAMS : RESULT;
  else if (length === 7) which = JSONRPC;
  return which >= 0 && spells(b, at + 1, CONTROL_KEYS[which] as string) ? which : -1;
}

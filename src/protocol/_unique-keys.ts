/**
 * Finds the members of an object on which the hub bases decisions. Each may occur once, and no member may only look
 * like one of them.
 */
import { Refusal } from '../model/outcome.ts';
import { decodeString, foldedKey, keyIs } from './_scalar.ts';
import type { MemberVisitor } from './_value.ts';
import { ABSENT, type Span } from './message.ts';

export class UniqueKeys implements MemberVisitor {
  readonly #bytes: Buffer;
  readonly #keys: readonly string[];
  readonly spans: Span[]; // bounded by: keys
  fault: Refusal | undefined;

  constructor(bytes: Buffer, keys: readonly string[]) {
    this.#bytes = bytes;
    this.#keys = keys;
    this.spans = keys.map(() => ABSENT);
  }

  member(keyAt: number, keyEnd: number, at: number, end: number): boolean {
    const which = this.#keys.findIndex((key) => keyIs(this.#bytes, keyAt, keyEnd, key));
    if (which < 0) this.fault = refuseLookAlike(this.#bytes, { at: keyAt, end: keyEnd }, this.#keys);
    else if ((this.spans[which] as Span).at >= 0)
      this.fault = new Refusal('invalid-params', `"${this.#keys[which]}" occurs twice.`);
    else this.spans[which] = { at, end };
    return this.fault === undefined;
  }
}

/** A longer spelling, even with every letter escaped, cannot be one of these keys. */
const LONGEST_SPELLING = 6 * 16;

function refuseLookAlike(bytes: Buffer, key: Span, keys: readonly string[]): Refusal | undefined {
  if (key.end - key.at > LONGEST_SPELLING) return undefined;
  const folded = foldedKey(decodeString(bytes, key.at, key.end) ?? '');
  const meant = keys.find((one) => foldedKey(one) === folded);
  return meant === undefined ? undefined : new Refusal('invalid-params', `A member is spelled almost like "${meant}".`);
}

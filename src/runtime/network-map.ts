/**
 * A value for each network that clients call from: an IPv4 address, or an IPv6 network (`shareOf` in `principal.ts`).
 * Guarantees: as many values as the map holds, and the one that was asked for last.
 */

import { ANONYMOUS_PRINCIPAL, shareOf } from '../model/principal.ts';
import type { CappedMap } from './capped.ts';

export class NetworkMap<V> {
  readonly #values: CappedMap<string, V>;
  readonly #make: () => V;
  /** Refusals come in series from one address: those need no lookup. */
  #last: { readonly address: string; readonly value: V } | undefined;

  /** `make` returns the value of a network that has none. */
  constructor(values: CappedMap<string, V>, make: () => V) {
    this.#values = values;
    this.#make = make;
  }

  /** Returns the value of the network of an address; creates it if there is none. */
  of(address: string): V {
    if (this.#last?.address === address) return this.#last.value;
    const network = shareOf(ANONYMOUS_PRINCIPAL, address);
    let value = this.#values.get(network);
    if (value === undefined) {
      value = this.#make();
      this.#values.set(network, value);
    }
    this.#last = { address, value };
    return value;
  }
}

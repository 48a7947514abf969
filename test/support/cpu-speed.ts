/**
 * How fast this machine is in this minute, for gates on CPU time: neighbours slow down its caches and the memory that
 * the system gives out. Measured beside what the gate is for, as CPU time of this thread.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const SPACES = Buffer.alloc(4 * 1024 * 1024, 0x20);
/**
 * What a walk over `SPACES`, and a copy of it into fresh memory, took on the machine that the gates were set on, ms.
 */
const WALK_MS = 5;
const COPY_MS = 1;
const ROUNDS = 7;

/** ms that this thread has had the CPU. */
export function cpuMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6;
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] as number;
}

/** Walks over bytes and copies of them, taken between the rounds of what is measured. */
export class CpuSpeed {
  readonly #walks: number[] = []; // bounded by: the rounds of a test
  readonly #copies: number[] = []; // bounded by: the rounds of a test

  sample(): void {
    let began = cpuMs();
    let sum = 0;
    for (let at = 0; at < SPACES.length; at += 1) sum += (SPACES[at] as number) & 1;
    assert.equal(sum, 0);
    this.#walks.push(cpuMs() - began);
    began = cpuMs();
    assert.equal(Buffer.from(SPACES).length, SPACES.length);
    this.#copies.push(cpuMs() - began);
  }

  /**
   * The gate for a turn that may take `ms` on the machine the gates were set on and copies at most 4 MiB; never less
   * than `ms`.
   */
  gate(ms: number): number {
    if (this.#walks.length === 0) for (let round = 0; round < ROUNDS; round += 1) this.sample();
    return ms * Math.max(1, median(this.#walks) / WALK_MS) + Math.max(0, median(this.#copies) - COPY_MS);
  }
}

/**
 * Finds the elements of an array in text that was scanned before; long arrays in steps, so that the event loop can run
 * between them.
 */
import { eachElement, elementsFrom, nextElement } from './_value.ts';
import type { Span } from './message.ts';

/** Options for text that was scanned before. */
const LOOSE = { maxDepth: 4096, strict: false } as const;
/** Bytes of elements in one step: about 1 ms. */
const STEP_BYTES = 512 * 1024;

/** Returns the spans of the elements of `array`: at most `max`, and none after the total exceeds `maxBytes`. */
export function elementSpans(bytes: Buffer, array: Span, max: number, maxBytes = Number.POSITIVE_INFINITY): Span[] {
  const spans: Span[] = []; // bounded by: max
  let held = 0;
  if (array.at < 0) return spans;
  eachElement(bytes, array.at, array.end, LOOSE, (at, end) => {
    spans.push({ at, end });
    held += end - at;
    return spans.length < max && held <= maxBytes;
  });
  return spans;
}

/** Works like `elementSpans` in steps of a few milliseconds. */
export function* elementSteps(bytes: Buffer, array: Span, max: number, maxBytes: number): Generator<void, Span[]> {
  const spans: Span[] = []; // bounded by: max
  let held = 0;
  let stepBytes = 0;
  const isOver = (): boolean => spans.length >= max || held > maxBytes;
  const visit = (at: number, end: number): boolean => {
    spans.push({ at, end });
    held += end - at;
    stepBytes += end - at;
    return !isOver() && stepBytes < STEP_BYTES;
  };
  if (array.at < 0) return spans;
  eachElement(bytes, array.at, array.end, LOOSE, visit);
  while (stepBytes >= STEP_BYTES && !isOver()) {
    yield;
    stepBytes = 0;
    const next = nextElement(bytes, (spans.at(-1) as Span).end, array.end);
    if (next < 0) break;
    elementsFrom(bytes, next, array.end, LOOSE, visit);
  }
  return spans;
}

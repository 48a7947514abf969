/**
 * Copies many bytes in steps: first use of a memory page costs up to 4 µs, so one copy of 4 MB may take 20 ms
 * (measured).
 */

/** Bytes of one step: about 1 ms where memory is slow. */
const STEP_BYTES = 256 * 1024;

/** Returns a copy of the bytes, which must not change meanwhile. The first step does nothing. */
export function* copySteps(bytes: Buffer): Generator<void, Buffer> {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  for (let at = 0; at < bytes.length; at += STEP_BYTES) {
    yield;
    bytes.copy(copy, at, at, Math.min(at + STEP_BYTES, bytes.length));
  }
  return copy;
}

/**
 * Copies a body from one stream to the next, with its end. `pipe` alone is not used: it reads `process.stdout`, which
 * opens it and makes a log's pipe non-blocking for all processes that share it. Errors are not passed on.
 */
export function pour(from: NodeJS.ReadableStream, to: NodeJS.WritableStream): void {
  from.once('end', () => to.end());
  from.pipe(to, { end: false });
}

/**
 * A body from one stream into the next, with its end.
 * Why not `pipe` alone: to decide about the end it looks at `process.stdout`, and the first look opens that, which makes a log's pipe
 * non-blocking for all who share it.
 * Does not: pass on errors; each side has its own ear.
 */
export function pour(from: NodeJS.ReadableStream, to: NodeJS.WritableStream): void {
  from.once('end', () => to.end());
  from.pipe(to, { end: false });
}

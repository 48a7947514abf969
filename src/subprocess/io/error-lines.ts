/**
 * Chooses the last lines of a program that say why it failed, for one message: without stack frames, with the line that
 * names the error.
 */

/**
 * Frames of V8, the JVM and .NET (`at f (x:1:2)`), the mark below a source line, and the version that Node.js ends
 * with.
 */
const FRAME = /^(?:at\s|\^+$|[{}],?$|Node\.js v\d|node:internal\/)/;
const ERROR =
  /^(?:[\w$.]{0,100}(?:Error|Exception)\b|Caused by:|\S{0,100}\s?(?:error|fatal|panic)\b.{0,3}:|fatal\b|panic\b|error\b)|\bcannot find\b|\bnot found\b|\bno such file\b|\bpermission denied\b/i;

/**
 * Returns at most `most` lines in order: the last that are no stack frames, preceded by the last one that names an
 * error.
 */
export function errorLines(tail: readonly string[], most: number): string[] {
  const plain = tail.filter((line) => !FRAME.test(line.trim()));
  const lines = plain.length > 0 ? plain : tail;
  const error = lines.findLastIndex((line) => ERROR.test(line.trim().slice(0, 500)));
  if (error < 0 || error >= lines.length - most) return lines.slice(-most);
  return [lines[error] as string, ...lines.slice(1 - most)];
}

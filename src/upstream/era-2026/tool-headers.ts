/**
 * The arguments of a server's tools that are repeated in headers, from its last list of tools; for all of its
 * connections. Source: specification 2026-07-28, custom headers from tool parameters.
 */
import { type ParamHeader, paramHeadersOf } from '../../protocol/era-2026/param-headers.ts';
import { memberSpan, stringAt } from '../../protocol/scan.ts';

const NONE: readonly ParamHeader[] = [];
const MARK = '"x-mcp-header"';
/** A larger tool is hidden in any case, bytes. */
const ROW_BYTES = 1024 * 1024;
const NAME_BYTES = 1024;

export class ToolHeaders {
  /** Rows that may declare headers, by name of the tool; parsed at the first call of the tool. */
  #declared: Map<string, Buffer | readonly ParamHeader[]> = new Map(); // bounded by: serverTools
  readonly #waiting = new Set<() => void>(); // bounded by: the calls in flight

  /** `tools`: complete JSON text of each. */
  learn(tools: readonly Buffer[]): void {
    const declared = new Map<string, Buffer>(); // bounded by: serverTools
    for (const bytes of tools) {
      if (bytes.length > ROW_BYTES || !bytes.includes(MARK)) continue;
      const name = stringAt(bytes, memberSpan(bytes, { at: 0, end: bytes.length }, 'name'), NAME_BYTES);
      if (name !== undefined) declared.set(name, bytes);
    }
    this.#declared = declared;
    for (const resume of [...this.#waiting]) resume();
  }

  /** Calls `listener` each time a list was read; returns a function that removes it. */
  onLearned(listener: () => void): () => void {
    // Each is an entry of its own, also when the same function is given twice.
    const entry = (): void => listener();
    this.#waiting.add(entry);
    return () => this.#waiting.delete(entry);
  }

  of(tool: string): readonly ParamHeader[] {
    const known = this.#declared.get(tool);
    if (!Buffer.isBuffer(known)) return known ?? NONE;
    const headers = paramHeadersOf(known.toString('utf8'));
    this.#declared.set(tool, headers);
    return headers;
  }
}

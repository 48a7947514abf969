/**
 * Which arguments of a server's tools are repeated in headers, as its last list of tools declares it; for all connections to the server.
 * Source: specification 2026-07-28, custom headers from tool parameters.
 */
import { type ParamHeader, paramHeadersOf } from '../protocol/era-2026/param-headers.ts';

const NONE: readonly ParamHeader[] = [];
const MARK = '"x-mcp-header"';

export class ToolHeaders {
  #declared: ReadonlyMap<string, readonly ParamHeader[]> = new Map(); // bounded by: serverTools
  readonly #waiting = new Set<() => void>(); // bounded by: the calls in flight

  /** `tools` = complete JSON text of each. */
  learn(tools: readonly Buffer[]): void {
    const declared = new Map<string, readonly ParamHeader[]>(); // bounded by: serverTools
    for (const bytes of tools) {
      if (!bytes.includes(MARK)) continue;
      const json = bytes.toString('utf8');
      const { name } = JSON.parse(json) as { name?: unknown };
      const headers = paramHeadersOf(json);
      if (typeof name === 'string' && headers.length > 0) declared.set(name, headers);
    }
    this.#declared = declared;
    for (const tell of [...this.#waiting]) tell();
  }

  /** Told whenever a list has been read, until the function that comes back is called. */
  onLearned(listener: () => void): () => void {
    // Each is an entry of its own, also when two give the same function.
    const entry = (): void => listener();
    this.#waiting.add(entry);
    return () => this.#waiting.delete(entry);
  }

  of(tool: string): readonly ParamHeader[] {
    return this.#declared.get(tool) ?? NONE;
  }
}

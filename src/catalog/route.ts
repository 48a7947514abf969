/**
 * Targets of exposed names and URIs.
 */

import type { ParamHeader } from '../protocol/era-2026/param-headers.ts';

export interface Target {
  /** Slug. */
  readonly server: string;
  /** Native name or URI. */
  readonly native: string;
  /** The native name as a JSON string, to insert into params. */
  readonly nativeJson: Buffer;
}

/** Target of a tool or prompt. */
export interface Route extends Target {
  readonly exposed: string;
  /** Whether structuredContent that is not an object must be removed from results. */
  readonly dropStructured: boolean;
  /** Arguments that clients of 2026-07-28 repeat in headers; usually none. */
  readonly paramHeaders: readonly ParamHeader[];
}

/** Target of a resource, or the server that can tell whether it exists. */
export interface ResourceRoute extends Target {
  /** Whether the exposed URI differs from the native one. */
  readonly renamed: boolean;
}

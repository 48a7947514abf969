/**
 * Where an exposed name or a URI leads.
 */

import type { ParamHeader } from '../protocol/era-2026/param-headers.ts';

export interface Target {
  /** Slug. */
  readonly server: string;
  /** What the server calls it. */
  readonly native: string;
  /** JSON string of it, for splicing into params. */
  readonly nativeJson: Buffer;
}

/** To a tool or a prompt. */
export interface Route extends Target {
  readonly exposed: string;
  /** True = structuredContent that is no object must be taken out of results. */
  readonly dropStructured: boolean;
  /** Arguments that clients of the stateless era repeat in headers; almost always none. */
  readonly paramHeaders: readonly ParamHeader[];
}

/** To a resource, or to the server that can say whether there is one. */
export interface ResourceRoute extends Target {
  /** True = clients know it by another URI than its server does. */
  readonly renamed: boolean;
}

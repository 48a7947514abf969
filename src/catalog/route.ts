/**
 * Where an exposed name leads.
 */
export interface Route {
  /** Slug. */
  readonly server: string;
  readonly native: string;
  /** JSON string of the native name, for splicing into params. */
  readonly nativeJson: Buffer;
  readonly exposed: string;
  /** True = structuredContent must be taken out of results. */
  readonly dropStructured: boolean;
}

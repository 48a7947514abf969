/**
 * How large the lists of a server are.
 */
/** A server's slug, and the bytes of its lists. */
export interface CatalogSize {
  readonly server: string;
  readonly bytes: number;
}

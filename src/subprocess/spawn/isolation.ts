/**
 * How a child is separated from the hub. Every spawn passes an `Isolation` (`group.ts`), so that a sandbox for a server
 * has one place. Today there is one kind: the hub's own user, which is no boundary (docs/security.md, "Servers that the
 * hub starts").
 */

export interface Isolation {
  readonly kind: 'same-user';
  /** Program and arguments that run before the child's program; empty for none. */
  readonly wrapper: readonly string[];
}

/**
 * Returns the isolation of a child that runs as the hub's user; `lifeline` ends it together with the hub, where
 * supported.
 */
export function sameUser(lifeline: readonly string[]): Isolation {
  return { kind: 'same-user', wrapper: lifeline };
}

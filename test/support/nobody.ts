/**
 * A client side where nobody wants to hear anything.
 */
import type { Everybody } from '../../src/upstream/client-context.ts';

export const NOBODY: Everybody = { logLevel: () => undefined, subscriptions: () => [], notice: () => {} };

/**
 * A client side where nobody wants to hear anything.
 */
import type { Everybody } from '../../src/upstream/fleet.ts';
import type { Talk } from '../../src/upstream/talk.ts';

export const NOBODY: Everybody = { logLevel: () => undefined, subscriptions: () => [], notice: () => {} };

export const SHARED_TALK: Talk = {
  capabilityBits: 0,
  lists: true,
  logLevel: () => undefined,
  subscriptions: () => [],
  notice: () => {},
};

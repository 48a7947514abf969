/**
 * A session in memory: about 450 bytes with shared strings, of which 200 are the id (measured).
 */
import { shortId } from './_ended-sessions.ts';
import type { SessionToken } from './session-token.ts';

export interface Session extends SessionToken {
  /** Value of `Mcp-Session-Id`. */
  readonly id: string;
  /** Used in logs. */
  readonly shortId: string;
  /** Whose share of containers it is charged to (`model/principal.ts`). */
  readonly owner: string;
}

export class CachedSession implements Session {
  readonly id: string;
  readonly random: string;
  readonly userId: string;
  readonly family: string;
  readonly path: string;
  readonly version: string;
  readonly clientName: string;
  readonly clientVersion: string;
  readonly capabilityBits: number;
  readonly issuedMs: number;
  readonly owner: string;
  /** Monotonic ms, an integer: V8 stores it without a heap object. */
  usedMs: number;

  /** `share` returns one string for all equal texts. */
  constructor(id: string, token: SessionToken, owner: string, share: (text: string) => string) {
    this.id = id;
    this.random = token.random;
    this.userId = share(token.userId);
    this.family = share(token.family);
    this.path = share(token.path);
    this.version = share(token.version);
    this.clientName = share(token.clientName);
    this.clientVersion = share(token.clientVersion);
    this.capabilityBits = token.capabilityBits;
    this.issuedMs = token.issuedMs;
    this.owner = share(owner);
    this.usedMs = 0;
  }

  get shortId(): string {
    return shortId(this.random);
  }
}

/**
 * Who is calling. Made in `auth/` from a verified credential only, and handed on as an argument; nothing else says who somebody is.
 */
import type { Role } from './snapshot.ts';

export interface Principal {
  readonly userId: string;
  readonly userName: string;
  /** Key family: the unit of fairness and of session binding; `local` on a private socket, `anonymous` without a key. */
  readonly family: string;
  readonly keyId: string;
  readonly keyName: string;
  readonly role: Role | 'anonymous';
  /** Slugs of groups it may use; undefined = all. */
  readonly groups: readonly string[] | undefined;
}

/** A caller on a private unix socket (directory 0700): the operator of this machine. */
export const LOCAL_PRINCIPAL: Principal = {
  userId: 'local',
  userName: 'local',
  family: 'local',
  keyId: 'local',
  keyName: 'local',
  role: 'owner',
  groups: undefined,
};

/** A caller of a group with `access: "anonymous"`. */
export const ANONYMOUS_PRINCIPAL: Principal = {
  userId: 'anonymous',
  userName: 'anonymous',
  family: 'anonymous',
  keyId: 'anonymous',
  keyName: 'anonymous',
  role: 'anonymous',
  groups: undefined,
};

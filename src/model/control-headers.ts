/**
 * Headers of a request that a worker sends to the control process, set by the worker only; a client's headers are never
 * copied there.
 */

/** The token that this worker got over its fork channel. */
export const WORKER_TOKEN_HEADER = 'x-mcphub-worker';
/** Role of the key that the caller showed to the worker. */
export const ROLE_HEADER = 'x-mcphub-role';
/** Id of that key. The control process looks it up, and acts for it only while it is an owner's. */
export const KEY_ID_HEADER = 'x-mcphub-key-id';

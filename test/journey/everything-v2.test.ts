/**
 * A client of SDK v2, in its legacy mode, against the real server-everything through the hub, over stdio and over
 * Streamable HTTP: each of its tools, prompts and resources, subscriptions, logging, sampling, elicitation, roots and
 * cancelling. The walk is in `test/support/everything-walk.ts`.
 */
// covers: E2, A2, B20, B21, B25
import { walkEverything } from '../support/everything-walk.ts';
import { connectV2 } from '../support/users.ts';

walkEverything('SDK v2 in legacy mode', connectV2);

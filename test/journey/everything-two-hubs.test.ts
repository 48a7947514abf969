/**
 * The walk of SDK v1 with two hub processes: whichever hub a request lands on, a session has one lane, its cancels are
 * heard and its updates come.
 */
// covers: A2, B14, B21
import { walkEverything } from '../support/everything-walk.ts';
import { connectV1 } from '../support/users.ts';

walkEverything('SDK v1 at two hubs', connectV1, ['--workers', '2']);

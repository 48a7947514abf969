import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SupervisorMessage } from './supervisor-messages.ts';
import { WorkerToken } from './worker-token.ts';

function listener() {
  const tokens: string[] = [];
  return { tokens, send: (word: SupervisorMessage) => void (word.t === 'worker-token' && tokens.push(word.token)) };
}

test('each start of the control process brings a new token to it and to every worker; a later worker gets the current one', () => {
  const tokens = new WorkerToken();
  const [early, control, restarted, late] = [listener(), listener(), listener(), listener()];
  tokens.handOut('hub', early, []);
  assert.deepEqual(early.tokens, []);
  tokens.handOut('control', control, [early]);
  assert.match(control.tokens[0] ?? '', /^[0-9a-f]{64}$/);
  assert.deepEqual(early.tokens, control.tokens);
  tokens.handOut('control', restarted, [early]);
  assert.notEqual(restarted.tokens[0], control.tokens[0]);
  assert.deepEqual(early.tokens, [control.tokens[0], restarted.tokens[0]]);
  tokens.handOut('hub', late, [early]);
  assert.deepEqual(late.tokens, restarted.tokens);
});

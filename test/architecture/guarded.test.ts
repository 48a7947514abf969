/**
 * A fault in a callback of a request ends that request and never the process: no listener or promise of `downstream` is
 * without a guard.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { otherServers, unguardedCallbacks } from './_guarded.ts';
import { readTree, snippet } from './_tree.ts';

test('every callback of downstream is guarded, so that its fault ends its own request', () => {
  assert.deepEqual(readTree().flatMap(unguardedCallbacks), []);
});

test('every HTTP server of a worker is a listener that guards its requests and watches its readers', () => {
  assert.deepEqual(readTree().flatMap(otherServers), []);
  const bad = snippet("/** x */\nimport { createServer, request } from 'node:http';", 'downstream/a.ts');
  assert.equal(otherServers(bad).length, 1);
});

test('the rule sees listeners and promises without a guard', () => {
  const found = (code: string): number => unguardedCallbacks(snippet(`/** x */\n${code}`, 'downstream/a.ts')).length;
  for (const code of [
    "socket.on('close', () => f());",
    "sent?.once('error', f);",
    'void outcome.then(f);',
    'void answerBatch(a);',
    'promise.then(f).catch(g);',
    "this.#socket.on('close', f);",
  ])
    assert.ok(found(code) > 0, code);
  for (const code of [
    "request.on('data', f).on('end', g);",
    "response.once('close', f);",
    "this.#response.on('drain', f);",
    "guardEmitter(kernel, sent, response);\nsent.on('error', f);",
    "socket.on('close', guardCallback(kernel, socket, f));",
    'return void sent.destroy();',
    'whenSettled(kernel, response, outcome, f);',
  ])
    assert.equal(found(code), 0, code);
});

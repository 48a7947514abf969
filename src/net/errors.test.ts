import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HubError } from '../model/errors.ts';
import { hubErrorFromNet, isConnectionLoss, peerClosed } from './errors.ts';

const coded = (code: string): Error => Object.assign(new Error('whatever it says'), { code });
const context = { server: 'docs', phase: 'connect', sent: false };

test('faults are named by their codes, whatever their messages say', () => {
  const cases: Record<string, string> = {
    ENOTFOUND: 'upstream-dns',
    EAI_AGAIN: 'upstream-dns',
    ECONNREFUSED: 'upstream-connect',
    ENETUNREACH: 'upstream-connect',
    DEPTH_ZERO_SELF_SIGNED_CERT: 'upstream-tls',
    CERT_HAS_EXPIRED: 'upstream-tls',
    ERR_TLS_CERT_ALTNAME_INVALID: 'upstream-tls',
    ERR_SSL_WRONG_VERSION_NUMBER: 'upstream-tls',
    EMFILE: 'overloaded',
  };
  for (const [code, expected] of Object.entries(cases)) {
    const fault = hubErrorFromNet(coded(code), context);
    assert.equal(fault.code, expected, code);
    const { reference, ...detail } = fault.detail;
    assert.equal(reference !== undefined, expected.startsWith('upstream-'));
    assert.deepEqual(detail, { server: 'docs', phase: 'connect', outcome: 'not-executed', reason: code });
  }
});

test('a reset before anything was sent is no connection, after that the outcome is unknown', () => {
  assert.equal(hubErrorFromNet(coded('ECONNRESET'), context).code, 'upstream-connect');
  const after = hubErrorFromNet(coded('ECONNRESET'), { ...context, sent: true, waitedMs: 12.4 });
  assert.equal(after.code, 'upstream-gone');
  assert.equal(after.detail.outcome, 'unknown');
  assert.equal(after.detail.waitedMs, 12);
});

test('a connection that breaks names the request on it and the reason', () => {
  const fault = hubErrorFromNet(coded('ECONNRESET'), { ...context, sent: true, asked: 'POST http://h/mcp' });
  assert.equal(fault.message, 'The connection to the server broke during POST http://h/mcp (ECONNRESET).');
});

test('of several attempts the last one names the fault', () => {
  const all = new AggregateError([coded('ENETUNREACH'), coded('ECONNREFUSED')]);
  assert.equal(hubErrorFromNet(all, context).detail.reason, 'ECONNREFUSED');
});

test('an error that is ours already keeps its code and its own detail', () => {
  const own = new HubError('upstream-dns', { message: 'no such name', detail: { phase: 'dns' } });
  const fault = hubErrorFromNet(own, context);
  assert.equal(fault.code, 'upstream-dns');
  assert.equal(fault.detail.phase, 'dns');
  assert.equal(fault.detail.server, 'docs');
});

test('only what a closing peer causes counts as connection loss', () => {
  assert.equal(isConnectionLoss(peerClosed()), true);
  assert.equal(isConnectionLoss(coded('ECONNREFUSED')), false);
  assert.equal(isConnectionLoss(undefined), false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServerAnswer } from '../../src/admin/contract.ts';
import { serverTable } from '../../src/cli/servers-commands.ts';
import { publicSentence } from '../../src/model/client-error.ts';
import { ERRORS, type ErrorCode, type ErrorDetail, HubError } from '../../src/model/errors.ts';
import { SecretMask } from '../../src/model/secret-mask.ts';
import { connectWords, slowWords, tlsWords } from '../../src/net/fault-words.ts';
import { exitFault } from '../../src/subprocess/prepare/prepare.ts';
import { lineOf } from '../../src/telemetry/event-lines.ts';
import { goneRefusal, timeUpFault, withSigns } from '../../src/upstream/call-endings.ts';
import { unusableAnswer } from '../../src/upstream/connection/invalid-answer.ts';
import { downRefusal } from '../../src/upstream/link/not-ready.ts';
import { protocolFault } from '../../src/upstream/transport/http/answer.ts';
import { httpFault } from '../../src/upstream/transport/http/http-fault.ts';

/** Ends of what servers, systems and other parts of the hub write. */
const TEXTS = ['It broke', 'It broke.', 'It broke. ', 'It broke..', 'as HTTP+SSE wants it.', '{"a":1}', 'why?'];
const PHASES = [undefined, '', 'start', 'handshake'];
const HOST = { server: 's', runtime: { secrets: new SecretMask(), clock: { nowMs: () => 0, wallMs: () => 0 } } };
const WRONG = /\.\.|[.,;:] ?[.,;]|: :|\(\)|in phase :|in :| {2}|undefined|\s[.,;:](?!\w)/;

const view = (fault: HubError, retryMs: number | undefined) =>
  ({ fault, retryMs, state: 'waiting', phase: undefined }) as unknown as Parameters<typeof downRefusal>[1];

function row(cause: string): ServerAnswer {
  const hub = { hub: 1, state: 'waiting', phase: undefined, cause, sinceMs: 1, retryMs: 5000, calls: 0, failures: 0 };
  const row = { name: 's', slug: 's', transport: 'http', homeHub: 1, state: 'waiting', cause, tools: 0, hubs: [hub] };
  return row as unknown as ServerAnswer;
}

/** All sentences that are put together around one text. */
function* sentences(text: string, code: ErrorCode, phase: string | undefined): Generator<string> {
  const detail: ErrorDetail = { server: 's', ...(phase === undefined ? {} : { phase }) };
  const faults = [
    new HubError(code, { message: text, detail }),
    new HubError(code, { detail }),
    protocolFault('s', 200, text),
    httpFault(HOST, { status: 500, headers: {}, body: Buffer.from(text), asked: 'POST http://h/mcp' }),
    httpFault(HOST, { status: 403, headers: {}, body: Buffer.from(text), asked: '' }),
    exitFault('s', { code: 1, signal: null }, { lastWords: text, stray: text, requestBytes: 5, env: {} }),
    exitFault('s', { code: 1, signal: null }, { lastWords: '', env: {} }),
    withSigns(timeUpFault('s', 'handshake', 5000), [text]) as HubError,
    unusableAnswer('s', text, {} as Parameters<typeof unusableAnswer>[2]),
  ];
  for (const fault of faults) {
    yield fault.message;
    yield publicSentence(fault.code, fault.detail);
    yield downRefusal('s', view(fault, 5000)).message;
    yield downRefusal('s', view(fault, undefined)).message;
    yield goneRefusal('s', fault, 'unknown').message;
    const lost = { type: 'server-was-lost', server: 's', code, message: fault.message, retryMs: 5000 } as const;
    yield lineOf({ ...lost, phase: fault.detail.phase ?? '' }).msg;
    yield lineOf({ type: 'breaker-opened', server: 's', ms: 5000, cause: fault.message }).msg;
    const [head = '', line = ''] = serverTable([row(fault.message)]).split('\n');
    yield line.slice(head.indexOf('CAUSE'));
  }
}

// case: SX5
test('texts that are put together end once, and name no empty phase', () => {
  let count = 0;
  for (const text of TEXTS)
    for (const code of Object.keys(ERRORS) as ErrorCode[])
      for (const phase of PHASES)
        for (const sentence of sentences(text, code, phase)) {
          // What the server wrote stays as it is.
          const own = sentence.replaceAll('It broke..', 'It broke.').replace(/ *\n */g, ' ');
          assert.doesNotMatch(own, WRONG, sentence);
          count += 1;
        }
  assert.ok(count > 10_000, `${count}`);
});

// case: SX5
test('so do the sentences about connections', () => {
  for (const tried of [[], ['127.0.0.1:1', '[::1]:1']])
    for (const caFault of [undefined, 'MCPHUB_CA_FILE (/x) is not there', 'It broke.']) {
      const attempted = { target: 'h:1', tried, caFault };
      const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED', address: '::1', port: 1 });
      const faults = [refused, new AggregateError([refused, new Error('x')]), new Error('x'), undefined];
      for (const fault of faults) assert.doesNotMatch(connectWords(fault, attempted), WRONG);
      for (const code of ['CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'EPROTO', 'ERR_SSL_X'])
        assert.doesNotMatch(tlsWords(code, refused, attempted), WRONG);
      for (const phase of ['connect', 'proxy', 'tls']) assert.doesNotMatch(slowWords(phase, 5, attempted), WRONG);
    }
});

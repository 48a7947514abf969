/**
 * SR-N1: no body holds the loop for more than 20 ms. Each body of 4 MiB here is built to make one step of the parser
 * slow; each step is what the hub does in one turn of the loop, and is judged by the CPU time of this thread, as the
 * scheduler counts it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limitsFrom } from '../../src/config/limits.ts';
import { isRefusal } from '../../src/model/outcome.ts';
import { readRequestMeta } from '../../src/protocol/era-2026/request-meta.ts';
import { HOP_PREFIX } from '../../src/protocol/era-2026/versions.ts';
import type { Envelope } from '../../src/protocol/message.ts';
import { withoutPrefix } from '../../src/protocol/meta.ts';
import { clientScan, isBatch, paramSpan, scanEnvelope, splitBatch } from '../../src/protocol/scan.ts';
import { refuseLongParams } from '../../src/protocol/sizes.ts';
import { withValue } from '../../src/protocol/write.ts';
import { CpuSpeed, cpuMs, median } from '../support/cpu-speed.ts';
import { PipelineRig } from '../support/pipeline-rig.ts';

const TURN_MS = 20;
/**
 * The scheduler counts in ticks of up to 4 ms, and a turn may have to collect garbage: the median of so many rounds
 * counts.
 */
const ROUNDS = 7;
const limits = limitsFrom({});
/** Room for the frame around what fills the body. */
const FILL = limits.bodyBytes - 512;
const VERSION = `"${HOP_PREFIX}protocolVersion":"2026-07-28","${HOP_PREFIX}clientCapabilities":{}`;

/** As many of `item` as fit, with commas between. */
function many(item: string, bytes = FILL): string {
  return Array<string>(Math.floor(bytes / (item.length + 1)))
    .fill(item)
    .join(',');
}

function call(args: string, more = ''): string {
  return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"git_log","arguments":${args}${more}}}`;
}

function asks(method: string, params: string): string {
  return `{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${params}}}`;
}

function text(content: string): string {
  return call(`{"a":"${content.repeat(Math.floor(FILL / Buffer.byteLength(content)))}"}`);
}

/** What fills the body, the body, and the code of the refusal (with the setting that it names), or `answered`. */
const BODIES: readonly (readonly [what: string, body: () => string, outcome: string])[] = [
  ['numbers', () => call(`[${many('1')}]`), 'invalid-request bodyValues'],
  ['numbers and spaces', () => call(`[${many('1 ')}]`), 'invalid-request bodyValues'],
  ['large numbers', () => call(`{"a":[${many('1'.repeat(300))}]}`), 'answered'],
  ['empty arrays', () => call(`[${many('[]')}]`), 'invalid-request bodyValues'],
  ['nested arrays', () => call(`[${many('['.repeat(50) + ']'.repeat(50))}]`), 'invalid-request bodyValues'],
  ['arrays that never close', () => call('['.repeat(FILL)), 'too-deep bodyDepth'],
  ['nested objects', () => call(`[${many(`${'{"":'.repeat(50)}1${'}'.repeat(50)}`)}]`), 'invalid-request bodyValues'],
  ['members of the same name', () => call(`{${many('"":1')}}`), 'invalid-request bodyValues'],
  ['as many values as are allowed', () => call(`{"a":[${many('"0123456789abcd"')}]}`), 'answered'],
  ['one text', () => text('x'), 'answered'],
  ['one Korean text', () => text('한'), 'answered'],
  ['escaped letters', () => text('\\u0041'), 'answered'],
  ['short escapes', () => text('\\n'), 'answered'],
  ['escapes among text', () => text(`${'x'.repeat(70)}\\n`), 'answered'],
  ['one number', () => call(`{"a":${'1'.repeat(FILL)}}`), 'answered'],
  ['white space', () => call(`${' '.repeat(FILL)}{}`), 'answered'],
  ['a long id', () => `{"jsonrpc":"2.0","id":"${'1'.repeat(FILL)}","method":"ping"}`, 'invalid-request'],
  ['a long method', () => `{"jsonrpc":"2.0","id":1,"method":"${'\\u0061'.repeat(FILL / 6)}"}`, 'method-not-found'],
  ['a long key', () => `{"jsonrpc":"2.0","id":1,"${'\\u0061'.repeat(FILL / 6)}":1,"method":"ping"}`, 'answered'],
  ['keys of the message', () => `{"jsonrpc":"2.0","id":1,"method":"ping",${many('"a":1')}}`, 'invalid-request'],
  ['members of params', () => asks('tools/call', many('"":1')), 'invalid-request paramsMembers'],
  ['escaped members of params', () => asks('tools/call', many('"\\u0061":1')), 'invalid-request paramsMembers'],
  ['members of _meta', () => call('{}', `,"_meta":{${many('"":1')}}`), 'invalid-request bodyValues'],
  ['fewer members of _meta', () => call('{}', `,"_meta":{${many('"":1', 40_000)}}`), 'invalid-request paramsValues'],
  [
    'members of _meta, claimed',
    () => call('{}', `,"_meta":{${VERSION},${many('"":1')}}`),
    'invalid-request bodyValues',
  ],
  [
    'a long member of _meta',
    () => call('{}', `,"_meta":{"a":"${'\\"'.repeat(FILL / 2)}"}`),
    'invalid-request paramsBytes',
  ],
  ['a long progress token', () => call('{}', `,"_meta":{"progressToken":"${'x'.repeat(400_000)}"}`), 'invalid-params'],
  ['capabilities', () => asks('initialize', `"capabilities":{${many('"":1')}}`), 'invalid-request bodyValues'],
  [
    'deep capabilities',
    () => asks('initialize', `"capabilities":{"sampling":{${many('"":1', 40_000)}}}`),
    'invalid-request paramsValues',
  ],
  ['a long name', () => asks('tools/call', `"name":"${'\\u0061'.repeat(80_000)}"`), 'invalid-params nameBytes'],
  [
    'arguments beside a level',
    () => asks('logging/setLevel', `"arguments":[${many('"0123456789abcd"')}],"level":"x"`),
    'invalid-params',
  ],
  [
    'arguments beside a cursor',
    () => asks('tools/list', `"arguments":[${many('"0123456789abcd"')}],"cursor":null`),
    'answered',
  ],
  ['a batch of numbers', () => `[${many('1')}]`, 'invalid-request batchBytes'],
  [
    'a batch of large calls',
    () =>
      `[${Array(100)
        .fill(call(`[${many('1', 9000)}]`))
        .join(',')}]`,
    'invalid-request bodyValues',
  ],
  [
    'a batch of calls',
    () =>
      `[${Array(100)
        .fill(call(`{"a":"${'\\u0061'.repeat(1600)}"}`))
        .join(',')}]`,
    'answered',
  ],
  ['a call of 2026-07-28', () => call(`{"a":[${many('"0123456789abcd"')}]}`, `,"_meta":{${VERSION}}`), 'answered'],
];

/** What the hub does with a body, one function for each turn of the loop. */
function turns(rig: PipelineRig, body: Buffer): { run: (() => void)[]; outcome: () => string } {
  let outcome = '';
  let messages: Envelope[] = [];
  const refused = (refusal: unknown): boolean => {
    if (!isRefusal(refusal)) return false;
    outcome = `${refusal.code} ${refusal.detail.setting ?? ''}`.trim();
    return true;
  };
  const scan = (): void => {
    const found = isBatch(body)
      ? splitBatch(body, limits.batch, clientScan(limits))
      : scanEnvelope(body, clientScan(limits));
    if (refused(found)) return;
    messages = [found as Envelope[] | Envelope].flat();
  };
  const answer = (): void => {
    for (const message of messages) {
      let envelope = message;
      const version = body.includes(VERSION) ? '2026-07-28' : undefined;
      const claim = readRequestMeta(envelope, { version, method: envelope.method, name: 'git_log' });
      if (refused(claim)) return;
      const meta = paramSpan(envelope, '_meta');
      if (claim && meta.at >= 0) envelope = withValue(envelope, meta, withoutPrefix(envelope.bytes, meta, HOP_PREFIX));
      if (refused(refuseLongParams(envelope, limits))) return;
      const reply = rig.pipeline.answer({ ...rig.incoming('{"jsonrpc":"2.0","id":1,"method":"ping"}'), envelope });
      if (reply instanceof Promise) outcome = 'answered';
      else if (!refused(reply)) outcome = 'answered';
    }
  };
  return { run: [scan, answer], outcome: () => outcome };
}

// finding: SR-N1
test(`no body holds the loop for more than ${TURN_MS} ms of CPU time, and each limit says its name`, () => {
  const rig = new PipelineRig();
  const tooLong: string[] = [];
  const wrong: string[] = [];
  for (const [what, make, expected] of BODIES) {
    const body = Buffer.from(make());
    const spent: [scan: number[], answer: number[]] = [[], []];
    const speed = new CpuSpeed();
    for (let round = 0; round < ROUNDS; round += 1) {
      speed.sample();
      const { run, outcome } = turns(rig, body);
      run.forEach((turn, at) => {
        const began = cpuMs();
        turn();
        spent[at]?.push(cpuMs() - began);
      });
      if (round === 0 && outcome() !== expected) wrong.push(`${what}: ${outcome()}`);
    }
    const boundMs = speed.gate(TURN_MS);
    const typical = spent.map(median);
    const shown = typical.map((ms) => ms.toFixed(1));
    if (Math.max(...typical) > boundMs) tooLong.push(`${what}: ${shown.join(' and ')} ms of ${boundMs.toFixed(0)}`);
    if (process.env.SHOW_TURNS) console.log(what.padEnd(32), ...shown, boundMs.toFixed(0), expected);
  }
  assert.deepEqual({ wrong, tooLong }, { wrong: [], tooLong: [] });
});

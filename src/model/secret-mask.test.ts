import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EventBus } from '../runtime/event-bus.ts';
import type { HubEvent } from './events.ts';
import { SecretMask } from './secret-mask.ts';
import { secretValuesOf } from './secret-values.ts';
import type { ServerSpec } from './snapshot.ts';

function maskOf(...secrets: string[]): SecretMask {
  const mask = new SecretMask();
  mask.use(secrets);
  return mask;
}

// finding: SR-L4
test('a secret is masked as it is and in every encoded form', () => {
  const secret = 'p"ä/ss+w?rd\\1';
  const mask = maskOf(secret);
  const bytes = Buffer.from(secret);
  const forms = [
    secret,
    encodeURIComponent(secret),
    encodeURIComponent(secret).toLowerCase(),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
  ];
  for (const form of forms) assert.equal(mask.mask(`a ${form} b`), 'a *** b', form);
  for (let before = 0; before < 4; before += 1)
    for (const after of [0, 1, 2, 3])
      for (const coding of ['base64', 'base64url'] as const) {
        const text = Buffer.concat([Buffer.alloc(before, 'x'), bytes, Buffer.alloc(after, 'y')]).toString(coding);
        const shown = mask.mask(text);
        assert.ok(shown.includes('***'), text);
        // At most the edges that hold bits of neighbours are left.
        const own = Math.floor((bytes.length * 8) / 6) - 2;
        assert.ok(text.length - shown.replace('***', '').length >= own, `${text} ${shown}`);
      }
});

test('secrets that overlap or touch become one mark, short ones are not known', () => {
  assert.equal(maskOf('abcdefghij', 'ghijklmnop').mask('-abcdefghijklmnop-'), '-***-');
  assert.equal(maskOf('abcdefgh').mask('abcdefghabcdefgh!'), '***!');
  assert.equal(maskOf('abcdefgh').mask('xabcdefghyabcdefghz'), 'x***y***z');
  assert.equal(maskOf('short').mask('short'), 'short');
  assert.equal(new SecretMask().mask('anything'), 'anything');
});

test('of a long secret a part is masked too, and so are its lines', () => {
  const token = Array.from({ length: 300 }, (_, at) =>
    String.fromCharCode(97 + ((at * 7 + Math.floor(at / 26)) % 26)),
  ).join('');
  const mask = maskOf(`${token}\n${'second-line-of-it'}`);
  assert.equal(mask.mask(token), '***');
  assert.ok(mask.mask(token.slice(0, 200)).length < 60);
  assert.equal(mask.mask('a second-line-of-it'), 'a ***');
});

test('whatever the text, it comes out without any secret, and otherwise as it was', () => {
  const secret = fc.stringMatching(/^[ab]{8,12}$/);
  fc.assert(
    fc.property(
      fc.array(secret, { minLength: 1, maxLength: 5 }),
      fc.stringMatching(/^[abc]{0,60}$/),
      (secrets, text) => {
        const shown = maskOf(...secrets).mask(text);
        for (const one of secrets) assert.equal(shown.includes(one), false);
        const isHeld = secrets.some((one) => text.includes(one));
        assert.equal(shown === text, !isHeld);
      },
    ),
    { numRuns: 2000 },
  );
});

test('1,000 secrets cost little more than one', () => {
  const text = 'GET /some/path HTTP/1.1 took 12 ms and then some more words follow here. '.repeat(200);
  const cost = (mask: SecretMask): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 20; round += 1) {
      const { user } = process.threadCpuUsage();
      for (let i = 0; i < 20; i += 1) mask.mask(text);
      best = Math.min(best, process.threadCpuUsage({ user, system: 0 }).user);
    }
    return best / 1000;
  };
  const many = maskOf(...Array.from({ length: 1000 }, (_, at) => `secret-${at}-${(at * 7919).toString(36)}-value`));
  const [one, thousand] = [cost(maskOf('a-single-secret')), cost(many)];
  assert.ok(thousand < one * 12 + 20, `${one} ms with one, ${thousand} ms with 1,000 (20 × 14 kB)`);
});

test('the bus shows no listener a secret, in messages, lists and errors with causes', () => {
  const mask = maskOf('the-secret-value');
  const bus = new EventBus(mask);
  const seen: HubEvent[] = [];
  bus.listen((fact) => seen.push(fact));
  const fault = new Error('it says the-secret-value', { cause: new Error('the-secret-value again') });
  bus.publish({ type: 'task-faulted', task: 'x', fault });
  bus.publish({ type: 'server-said', server: 'the-secret-value', line: 'token=the-secret-value' });
  bus.publish({ type: 'config-refused', file: 'f', errors: ['the-secret-value'] });
  const [first, second, third] = seen as [HubEvent & { fault: Error }, HubEvent, HubEvent];
  assert.equal(/the-secret-value/.test(`${first.fault.stack} ${(first.fault.cause as Error).stack}`), false);
  assert.equal(first.fault.message, 'it says ***');
  assert.deepEqual(second, { type: 'server-said', server: 'the-secret-value', line: 'token=***' });
  assert.deepEqual(third, { type: 'config-refused', file: 'f', errors: ['***'] });
});

// finding: SR-A20
test('the bus masks what stands in objects of a fact, and hides what lies deeper than it looks', () => {
  const bus = new EventBus(maskOf('the-secret-value'));
  const seen: HubEvent[] = [];
  bus.listen((fact) => seen.push(fact));
  const unread = { kind: 'tool', late: false, rows: undefined, isWanted: true } as const;
  bus.publish({ type: 'lists-unread', server: 's', lists: [{ ...unread, why: 'it says the-secret-value' }] });
  let deep: object = { why: 'the-secret-value' };
  for (let at = 0; at < 6; at += 1) deep = { deep };
  bus.publish({ type: 'lists-unread', server: 's', lists: [{ ...unread, why: 'x', ...deep }] });
  assert.deepEqual(seen[0], { type: 'lists-unread', server: 's', lists: [{ ...unread, why: 'it says ***' }] });
  assert.equal(JSON.stringify(seen[1]).includes('the-secret-value'), false);
});

test('values of headers, environments, addresses and variables are secrets; ordinary settings are not', () => {
  const env = { TOKEN: 'token-value', NODE_ENV: 'production', LOG_LEVEL: 'very-verbose', DB: 'pg://u:db-password@h/x' };
  const stdio = {
    transport: { kind: 'stdio', command: 'x', args: ['--url=1'], env, cwd: undefined },
    inserted: ['from-variable'],
  };
  const headers = { Authorization: 'Bearer header-token', 'X-Key': 'plain-key-value', 'User-Agent': 'some-agent/1.0' };
  const url = 'https://user-name:pass%20word@host.example/mcp?key=query-value';
  const http = { transport: { kind: 'http', url, headers, launch: undefined } };
  const basic = {
    transport: { kind: 'sse', url: 'https://h/', headers: { authorization: 'Basic dXNlcjpiYXNpYy1wYXNz' } },
  };
  const values = new Set(secretValuesOf([stdio, http, basic] as unknown as ServerSpec[]));
  for (const value of ['token-value', 'db-password', 'from-variable', 'header-token', 'plain-key-value'])
    assert.ok(values.has(value), value);
  for (const value of ['user-name', 'pass%20word', 'pass word', 'query-value', 'basic-pass'])
    assert.ok(values.has(value), value);
  for (const value of ['production', 'very-verbose', 'some-agent/1.0']) assert.equal(values.has(value), false, value);
});

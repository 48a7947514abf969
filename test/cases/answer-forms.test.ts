/**
 * Answers of servers in unusual forms, on every wire, to a call, a list and the handshake: what has one meaning is
 * taken so, and what cannot be read ends its request at once.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { mcphub } from '../support/cli.ts';
import {
  FORM_WIRES,
  type FormPlace,
  type FormServers,
  type FormWire,
  formServer,
  startFormServers,
} from '../support/form-server.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';

const slug = (wire: FormWire, where: FormPlace, form: string) =>
  `${wire}-${where}${form === '' ? '' : `-${form}`}`.replaceAll('_', '-');

/** Forms that stand for a good answer, and forms that stand for the error -32029 or, without a code, -32603. */
const GOOD = ['pretty', 'spaced', 'null_error', 'null_method', 'string_id', 'float_id', 'exponent_id', 'float_text_id'];
const BROKEN = [
  'nan',
  'infinity',
  'undefined_value',
  'none',
  'hex',
  'plus',
  'zero',
  'comma',
  'quotes',
  'cut',
  'nan_before_id',
  'python',
  'prefixed',
  'nan_without_id',
  'nameless_error_invalid',
];
const BROKEN_LINES = ['utf16', 'utf16_big'];
/** Of those, in lists and the handshake. */
const ELSEWHERE = ['null_error', 'string_id', 'pretty'];
const REFUSED: Readonly<Record<string, number>> = {
  ...{ null_result: -32029, null_method_error: -32029 },
  ...{ nameless_error: -32029, error_without_id: -32029, error_text: -32603, nameless_error_text: -32603 },
};

describe('an answer in an unusual form', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  let servers: FormServers;
  before(async () => {
    servers = await startFormServers();
    const mcpServers: Record<string, object> = {};
    const add = (wire: FormWire, where: FormPlace, form: string) => {
      mcpServers[slug(wire, where, form)] = formServer(servers, wire, where, form);
    };
    for (const wire of FORM_WIRES) {
      add(wire, 'call', '');
      add(wire, 'list', 'deep_rows');
      for (const form of ELSEWHERE) for (const where of ['list', 'initialize'] as const) add(wire, where, form);
    }
    for (const form of ['json_type_0', 'json_type_7', 'events_type_1'])
      for (const where of ['list', 'initialize'] as const) add('json', where, form);
    hub = await startHub({ config: { mcpServers } });
    for (const wire of FORM_WIRES) await until(() => isWell(slug(wire, 'call', '')), 20_000, wire);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await servers?.[Symbol.asyncDispose]();
  });

  async function answerOf(name: string, tool: string) {
    const startMs = performance.now();
    const { json } = await callTool(`${hub.url}/mcp`, `${name.replaceAll('-', '_')}_${tool}`, {}, { key: hub.key });
    return { ...json, tookMs: performance.now() - startMs };
  }
  async function isWell(name: string): Promise<boolean> {
    return (await answerOf(name, 'well')).result?.content?.[0].text === 'well';
  }
  async function onEachWire(check: (name: string, wire: FormWire) => Promise<void>): Promise<void> {
    await Promise.all(FORM_WIRES.map((wire) => check(slug(wire, 'call', ''), wire)));
  }

  // case: SV1, SV18
  test('reaches the caller when it has one meaning', () =>
    onEachWire(async (name) => {
      for (const form of GOOD) {
        const { result, error } = await answerOf(name, form);
        assert.equal(result?.content[0].text, 'well', `${name} ${form}: ${JSON.stringify(error)}`);
      }
    }));

  // case: SV26
  test('reaches the caller as an error with its code and text, also without an id', () =>
    onEachWire(async (name) => {
      for (const [form, code] of Object.entries(REFUSED)) {
        const { error, tookMs } = await answerOf(name, form);
        assert.deepEqual([error?.code, error?.message], [code, 'slow down'], `${name} ${form}`);
        assert.ok(tookMs < 4000, `${name} ${form} took ${tookMs} ms`);
      }
    }));

  // case: SV43, SV48
  test('ends its call at once when it is no JSON, and says so to the operator', async () => {
    await onEachWire(async (name) => {
      for (const form of [...BROKEN, ...(name.startsWith('stdio') ? BROKEN_LINES : [])]) {
        const { error, tookMs } = await answerOf(name, form);
        assert.deepEqual([error?.data?.code, error?.data?.server], ['upstream-invalid', name], `${name} ${form}`);
        assert.ok(tookMs < 4000, `${name} ${form} took ${tookMs} ms`);
        assert.ok(!JSON.stringify(error).includes('structuredContent'), 'what the server wrote is for the operator');
      }
    });
    await answerOf('stdio-call', 'nan');
    const { stdout } = await mcphub(['servers', 'logs', 'stdio-call', '--data-dir', hub.dataDir]);
    assert.match(stdout, /^stdout, no message: \{"jsonrpc".+NaN/m);
    assert.match(stdout, /upstream-invalid: .+NaN/);
    assert.match(stdout, /"structuredContent":\{"x":/);
  });

  // case: SV6
  test('is taken from an event stream with events that are no messages', async () => {
    for (const name of ['events-call', 'sse-call'])
      for (const event of ['done', 'heartbeat', 'empty', 'nothing', 'word', 'array', 'unnamed'])
        for (const place of ['before', 'after', 'first']) {
          // One stream for all calls: an answer that names none ends the only one.
          if (event === 'unnamed' && name === 'sse-call') continue;
          const { result, error } = await answerOf(name, `${event}_${place}`);
          assert.equal(result?.content[0].text, 'well', `${name} ${event} ${place}: ${JSON.stringify(error)}`);
        }
    const { error, tookMs } = await answerOf('events-call', 'nameless_result');
    assert.equal(error?.data?.code, 'upstream-invalid');
    assert.ok(tookMs < 4000, `${tookMs} ms`);
  });

  // case: SV3, SV25
  test('is read as what it is, whatever its media type says, and the operator hears of it once', async () => {
    for (const form of [
      ...Array.from({ length: 8 }, (_, nth) => `json_type_${nth}`),
      ...Array.from({ length: 4 }, (_, nth) => `events_type_${nth}`),
    ]) {
      const { result, error, tookMs } = await answerOf('json-call', form);
      assert.equal(result?.content[0].text, 'well', `${form}: ${JSON.stringify(error)}`);
      assert.ok(tookMs < 4000, `${form} took ${tookMs} ms`);
    }
    const told = hub.lines.filter(
      ({ event, upstream, msg }) =>
        event === 'messages-invalid' && upstream === 'json-call' && /media type/.test(String(msg)),
    );
    assert.equal(told.length, 1, JSON.stringify(told));
    for (const form of ['text_400', 'nameless_400', 'events_400'])
      assert.deepEqual([(await answerOf('json-call', form)).error?.message], ['slow down'], form);
    assert.equal((await answerOf('json-call', 'html')).error?.data?.code, 'upstream-protocol');
    for (const form of ['json_type_0', 'json_type_7', 'events_type_1'])
      for (const where of ['list', 'initialize'] as const)
        await until(() => isWell(slug('json', where, form)), 10_000, `${where} ${form}`);
  });

  // case: SV48
  test('is taken from a line of stdout that has more than the message, or less', async () => {
    for (const form of [
      'coloured',
      'two_in_line',
      'trailing_text',
      'no_newline',
      'trailing_nul',
      'return_only',
      'pretty_between',
      'two_values',
    ]) {
      const { result, error, tookMs } = await answerOf('stdio-call', form);
      assert.equal(result?.content[0].text, 'well', `${form}: ${JSON.stringify(error)}`);
      assert.ok(tookMs < 4000, `${form} took ${tookMs} ms`);
    }
    await until(() => isWell('stdio-initialize-pretty'), 10_000, 'a handshake on several lines');
  });

  // case: SV27
  test('ends its call by name when it is nested too deeply, and only the rows of a list that are so are hidden', async () => {
    await onEachWire(async (name, wire) => {
      const { error, tookMs } = await answerOf(name, 'deep');
      assert.deepEqual([error?.data?.code, error?.data?.setting], ['upstream-invalid', 'bodyDepth'], name);
      assert.ok(tookMs < 4000, `${name} took ${tookMs} ms`);
      await until(() => isWell(slug(wire, 'list', 'deep_rows')), 10_000, `the other tool of ${wire}`);
      const hidden = (await answerOf(slug(wire, 'list', 'deep_rows'), 'abyss')).error;
      assert.equal(hidden?.data?.code, 'unknown-tool', JSON.stringify(hidden));
    });
    for (const tool of ['abyss', 'chasm'])
      assert.match(hub.log, new RegExp(`${tool}[^\\n]*nested deeper than 64 levels`));
  });

  // case: SV42
  test('is not lost for line separators in what the client sends to a program that reads lines', async () => {
    const text = 'a\u2028b\u2029c\u2030 한';
    const { json } = await callTool(`${hub.url}/mcp`, 'stdio_call_echo', { text, deep: [{ text }] }, { key: hub.key });
    assert.deepEqual(JSON.parse(json.result.content[0].text), { text, deep: [{ text }] });
  });

  test('is taken in lists and in the handshake', async () => {
    for (const wire of FORM_WIRES)
      for (const form of ELSEWHERE)
        for (const where of ['list', 'initialize'] as const)
          await until(() => isWell(slug(wire, where, form)), 10_000, `${wire} ${where} ${form}`);
  });
});

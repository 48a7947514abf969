/**
 * Answers of servers in unusual forms, on every wire, to a call, a list and the handshake: what has one meaning is taken so, and what cannot be read ends
 * its request at once.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
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

const slug = (wire: FormWire, where: FormPlace, form: string) => `${wire}-${where}-${form}`.replaceAll('_', '-');

/** Forms that stand for a good answer, and forms that stand for the error -32029 or, without a code, -32603. */
const GOOD = ['null_error', 'null_method', 'string_id', 'float_id', 'exponent_id', 'float_text_id'];
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
      for (const form of [...GOOD, 'nameless_error'])
        for (const where of ['list', 'initialize'] as const) add(wire, where, form);
    }
    hub = await startHub({ config: { mcpServers } });
    for (const wire of FORM_WIRES) await until(() => isWell(slug(wire, 'call', '')), 20_000, wire);
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await servers?.[Symbol.asyncDispose]();
  });

  async function answerOf(name: string, tool: string) {
    const startMs = performance.now();
    const { json } = await callTool(
      `${hub.url}/mcp`,
      `${name.replaceAll('-', '_').replace(/_$/, '')}_${tool}`,
      {},
      { key: hub.key },
    );
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

  test('is taken in lists and in the handshake', async () => {
    for (const wire of FORM_WIRES)
      for (const form of GOOD)
        for (const where of ['list', 'initialize'] as const)
          await until(() => isWell(slug(wire, where, form)), 10_000, `${wire} ${where} ${form}`);
  });
});

/**
 * `node test/conformance/hub-client.ts URL`: the client that the official suites start. It is a whole hub whose only
 * server is at URL, and a user of that hub who does what the scenario wants done, with the suites' own environment
 * (`MCP_CONFORMANCE_SCENARIO`, `MCP_CONFORMANCE_CONTEXT`). Exit code 0 when the user has got what there was to get.
 */
import { startHub, until } from '../support/hub.ts';
import { MODERN } from '../support/stateless.ts';
import { type Actions, connectPinned, connectV1, type Place, type User } from '../support/users.ts';

interface Scenario {
  /** The era of the user's own client; the hub finds out what the server speaks, unless `isPinned`. */
  readonly era: '2025' | '2026';
  /**
   * The suite has something against a request of the other era, so that the server is configured with `"era": "2026"`.
   */
  readonly isPinned?: boolean;
  /** It asks its users. */
  readonly isInteractive?: boolean;
  readonly act: (user: ActingUser) => Promise<void>;
}

interface ActingUser {
  readonly can: Actions;
  /** Calls a tool by the name that the server gave it. */
  call(native: string, args?: object): Promise<void>;
}

const LISTED_MS = 20_000;

async function list({ can }: ActingUser): Promise<void> {
  await can.listTools();
}

async function add({ call }: ActingUser): Promise<void> {
  await call('add_numbers', { a: 5, b: 3 });
}

async function useAll({ can, call }: ActingUser): Promise<void> {
  await call('test_headers');
  await call('my-hyphenated-tool');
  const { resources } = await can.listResources();
  for (const { uri } of resources) await can.readResource({ uri });
  const { prompts } = await can.listPrompts();
  for (const { name } of prompts) await can.getPrompt({ name });
}

async function callAllListed({ can }: ActingUser): Promise<void> {
  const { tools } = await can.listTools();
  for (const { name } of tools) await can.call(name, { region: 'eu' });
}

/** What the suite wants called. */
async function callAsTold({ call }: ActingUser): Promise<void> {
  const { toolCalls } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}') as {
    readonly toolCalls: readonly { readonly name: string; readonly arguments: object }[];
  };
  for (const one of toolCalls) await call(one.name, one.arguments);
}

/**
 * The second tool is called while the first one waits for its user, which is when one call's state could get into
 * another.
 */
async function answerRounds({ call }: ActingUser): Promise<void> {
  await Promise.all([call('test_mrtr_echo_state'), call('test_mrtr_unrelated')]);
  await call('test_mrtr_no_state');
  await call('test_mrtr_unrelated');
  await call('test_mrtr_no_result_type');
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  initialize: { era: '2025', act: list },
  tools_call: { era: process.env.MCP_CONFORMANCE_PROTOCOL_VERSION === MODERN ? '2026' : '2025', act: add },
  'elicitation-sep1034-client-defaults': {
    era: '2025',
    isInteractive: true,
    act: ({ call }) => call('test_client_elicitation_defaults'),
  },
  'sse-retry': { era: '2025', act: ({ call }) => call('test_reconnection') },
  'request-metadata': { era: '2026', isPinned: true, act: list },
  'sep-2322-client-request-state': { era: '2026', isInteractive: true, act: answerRounds },
  'http-standard-headers': { era: '2026', isPinned: true, act: useAll },
  'http-custom-headers': { era: '2026', act: callAsTold },
  'http-invalid-tool-headers': { era: '2026', act: callAllListed },
  'json-schema-ref-no-deref': { era: '2026', isPinned: true, act: list },
};

/** Says yes to whatever it is asked; in the older era each field is left to its default. */
async function connect(era: Scenario['era'], place: Place): Promise<User> {
  const [join, elicitation, content] =
    era === '2025' ? [connectV1, { form: { applyDefaults: true } }, {}] : [connectPinned, {}, { confirmed: true }];
  const user = await join({ ...place, capabilities: { elicitation } });
  user.mind.elicit = () => ({ action: 'accept', content });
  return user;
}

/** Names of the hub end in what the server calls the tool, with the characters that all clients take. */
function isNamed(exposed: string, native: string): boolean {
  return exposed.endsWith(native.replaceAll(/[^A-Za-z0-9]/g, '_'));
}

async function run(scenario: Scenario, address: string): Promise<void> {
  const { era, isPinned, isInteractive, act } = scenario;
  const server = {
    url: address,
    ...(isInteractive ? { interactive: true } : {}),
    ...(isPinned ? { era: '2026' } : {}),
  };
  await using hub = await startHub({ config: { mcpServers: { it: server } } });
  const url = `${hub.url}/mcp`;
  await until(() => isReady(hub), LISTED_MS, 'the server');
  await using client = await connect(era, { url, key: hub.key });
  const { can } = client;
  const { tools } = await can.listTools();
  const call = async (native: string, args: object = {}): Promise<void> => {
    const name = tools.find((tool: { readonly name: string }) => isNamed(tool.name, native))?.name;
    if (name === undefined) throw new Error(`the hub lists no ${native}: ${JSON.stringify(tools)}`);
    const { isError, content } = await can.call(name, args);
    if (isError) throw new Error(`${native}: ${JSON.stringify(content)}`);
  };
  try {
    await act({ can, call });
  } catch (fault) {
    console.error(hub.log.slice(-4000));
    throw fault;
  }
}

async function isReady(hub: { readonly url: string; readonly key: string }): Promise<boolean> {
  const headers = { Authorization: `Bearer ${hub.key}` };
  const answer = await fetch(`${hub.url}/api/servers`, { headers, signal: AbortSignal.timeout(2000) });
  const { servers } = (await answer.json()) as { readonly servers?: readonly { readonly state: string }[] };
  return servers?.[0]?.state === 'ready';
}

const name = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
if (!scenario) throw new Error(`There is nothing to do here in the scenario "${name}".`);
await run(scenario, process.argv.at(-1) ?? '');

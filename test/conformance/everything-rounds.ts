/**
 * What the suites of the stateless era look for, as a server of the 2025 dates does it: it asks while it is at work,
 * and changes its lists.
 * Promises: asks only for what its client has declared.
 */
import {
  type CallToolResult,
  CreateMessageResultSchema,
  ElicitResultSchema,
  type GetPromptResult,
  ListRootsResultSchema,
  type Prompt,
} from '@modelcontextprotocol/sdk/types.js';
import { PROMPTS } from './everything-contents.ts';
import type { EverythingTool, ToolCall } from './everything-tools.ts';
import { type Extra, log, type World } from './everything-world.ts';

/** A person or model answers; nobody waits longer for them, ms. */
const ANSWER_MS = 60_000;
/** The suite of the stateless era listens so long for what a change brings about. */
const CHANGE = { toolList: 'extra_tool', promptList: 'extra_prompt' } as const;

function said(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

async function elicit(extra: Extra, message: string, field: string, isYesNo = false): Promise<string> {
  const property = isYesNo ? { type: 'boolean' as const } : { type: 'string' as const };
  const answer = await extra.sendRequest(
    {
      method: 'elicitation/create',
      params: { message, requestedSchema: { type: 'object', properties: { [field]: property }, required: [field] } },
    },
    ElicitResultSchema,
    { timeout: ANSWER_MS, signal: extra.signal },
  );
  return String(answer.content?.[field] ?? answer.action);
}

async function sample(extra: Extra, text: string): Promise<string> {
  const answer = await extra.sendRequest(
    {
      method: 'sampling/createMessage',
      params: { messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens: 100 },
    },
    CreateMessageResultSchema,
    { timeout: ANSWER_MS, signal: extra.signal },
  );
  return answer.content.type === 'text' ? answer.content.text : answer.content.type;
}

async function roots(extra: Extra): Promise<string> {
  const answer = await extra.sendRequest({ method: 'roots/list' }, ListRootsResultSchema, {
    timeout: ANSWER_MS,
    signal: extra.signal,
  });
  return answer.roots.map(({ uri }) => uri).join(', ');
}

function plain(name: string, description: string, run: (call: ToolCall) => Promise<CallToolResult>): EverythingTool {
  return { tool: { name: `test_${name}`, description, inputSchema: { type: 'object', properties: {} } }, run };
}

function asking(name: string, description: string, work: (call: ToolCall) => Promise<string>): EverythingTool {
  return plain(`input_required_result_${name}`, description, async (call) => said(await work(call)));
}

async function askWhatMayBeAsked({ extra, session }: ToolCall): Promise<string> {
  const can = session.server.getClientCapabilities();
  const answers = [
    can?.sampling ? sample(extra, 'What is the capital of France?') : '',
    can?.elicitation ? elicit(extra, 'What is your name?', 'name') : '',
  ];
  return (await Promise.all(answers)).join(' ');
}

export const ROUND_TOOLS: readonly EverythingTool[] = [
  asking(
    'elicitation',
    'Asks for a name.',
    async ({ extra }) => `Hello, ${await elicit(extra, 'What is your name?', 'name')}!`,
  ),
  asking('sampling', 'Asks the model.', ({ extra }) => sample(extra, 'What is the capital of France?')),
  asking('list_roots', 'Asks for roots.', ({ extra }) => roots(extra)),
  asking(
    'request_state',
    'Asks for a confirmation.',
    async ({ extra }) => `state-ok: ${await elicit(extra, 'Please confirm', 'ok', true)}`,
  ),
  asking('multiple_inputs', 'Asks three things at once.', async ({ extra }) => {
    const answers = [elicit(extra, 'What is your name?', 'name'), sample(extra, 'Greet me.'), roots(extra)];
    return (await Promise.all(answers)).join('; ');
  }),
  asking('multi_round', 'Asks one thing after the other.', async ({ extra }) => {
    const name = await elicit(extra, 'Step 1: What is your name?', 'name');
    return `${name} likes ${await elicit(extra, 'Step 2: What is your favorite color?', 'color')}`;
  }),
  asking('tampered_state', 'Asks for a confirmation.', ({ extra }) => elicit(extra, 'Please confirm', 'ok', true)),
  asking('capabilities', 'Asks what its client can be asked.', askWhatMayBeAsked),
  plain('streaming_elicitation', 'Asks while its stream is open.', async ({ extra }) =>
    said(await elicit(extra, 'What is your name?', 'name')),
  ),
  plain('logging_tool', 'Logs a line.', async ({ session, extra }) => {
    await log(session, extra, 'info', 'A line for whoever wants it');
    return said('Logged.');
  }),
  plain('missing_capability', 'Needs a client with a model.', async ({ session, extra }) =>
    session.server.getClientCapabilities()?.sampling
      ? said(await sample(extra, 'Are you there?'))
      : { ...said('The client does not support sampling.'), isError: true },
  ),
  {
    tool: {
      name: 'test_custom_headers',
      description: 'Wants its arguments in headers too.',
      inputSchema: {
        type: 'object',
        properties: {
          region: { type: 'string', 'x-mcp-header': 'Region' },
          priority: { type: 'integer', 'x-mcp-header': 'Priority' },
          verbose: { type: 'boolean', 'x-mcp-header': 'Verbose' },
        },
      },
    },
    run: ({ args }) => said(`Called with ${JSON.stringify(args)}`),
  },
  plain('trigger_tool_change', 'Shows one tool more, or hides it again.', async ({ world }) => {
    world.more.tool = world.more.tool === undefined ? CHANGE.toolList : undefined;
    await Promise.all([...world.sessions].map(({ server }) => server.sendToolListChanged()));
    return said('Changed.');
  }),
  plain('trigger_prompt_change', 'Shows one prompt more, or hides it again.', async ({ world }) => {
    world.more.prompt = world.more.prompt === undefined ? CHANGE.promptList : undefined;
    await Promise.all([...world.sessions].map(({ server }) => server.sendPromptListChanged()));
    return said('Changed.');
  }),
];

export const ASKING_PROMPT = {
  name: 'test_input_required_result_prompt',
  description: 'Asks for its context.',
} as const;

/** The prompts, and the one that stands there for a while. */
export function listPrompts({ more }: World): Prompt[] {
  const extra = more.prompt === undefined ? [] : [{ name: more.prompt, description: 'For a while.' }];
  return [...PROMPTS, ASKING_PROMPT, ...extra];
}

export async function askForContext(extra: Extra): Promise<GetPromptResult> {
  const text = await elicit(extra, 'What context should the prompt use?', 'context');
  return { messages: [{ role: 'user', content: { type: 'text', text } }] };
}

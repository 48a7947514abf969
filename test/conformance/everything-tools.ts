/**
 * The tools that the conformance suites call, by the names and with the answers that they look for.
 * Promises: a tool that needs something of the client which the client has not declared answers with `isError`, at
 * once.
 * Does not: ask people anything; its questions are in `everything-questions.ts`.
 */
import { type CallToolResult, ErrorCode, McpError, type Tool } from '@modelcontextprotocol/sdk/types.js';
import { QUESTION_TOOLS } from './everything-questions.ts';
import { ROUND_TOOLS } from './everything-rounds.ts';
import { changeWatched, type Extra, log, PNG, pause, type Session, type World } from './everything-world.ts';

export interface ToolCall {
  readonly args: Readonly<Record<string, unknown>>;
  readonly extra: Extra;
  readonly session: Session;
  readonly world: World;
}

export interface EverythingTool {
  readonly tool: Tool;
  run(call: ToolCall): Promise<CallToolResult> | CallToolResult;
}

/** Between two steps of a tool that takes its time, ms. */
const STEP_MS = 50;
/** From the end of the stream of `test_reconnection` to its result, ms; the client comes back meanwhile or later. */
const AWAY_MS = 100;
/** A WAV file with a header and no samples. */
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';

export function said(text: string): CallToolResult {
  return { content: [{ type: 'text', text }] };
}

function plain(
  name: string,
  description: string,
  run: (call: ToolCall) => Promise<CallToolResult> | CallToolResult,
): EverythingTool {
  return { tool: { name, description, inputSchema: { type: 'object', properties: {} } }, run };
}

async function runWithLogging({ session, extra }: ToolCall): Promise<CallToolResult> {
  await log(session, extra, 'info', 'Tool execution started');
  await pause(STEP_MS, extra.signal);
  await log(session, extra, 'info', 'Tool processing data');
  await pause(STEP_MS, extra.signal);
  await log(session, extra, 'info', 'Tool execution completed');
  return said('The tool has logged three lines.');
}

async function runWithProgress({ extra }: ToolCall): Promise<CallToolResult> {
  const token = extra._meta?.progressToken;
  for (const progress of [0, 50, 100]) {
    if (progress > 0) await pause(STEP_MS, extra.signal);
    if (token === undefined) continue;
    await extra.sendNotification({
      method: 'notifications/progress',
      params: { progressToken: token, progress, total: 100, message: `${progress} of 100` },
    });
  }
  return said(`Progress token: ${String(token)}`);
}

/** Ends its own stream in mid-call where the transport can; the result waits for who resumes. */
async function runReconnection({ extra }: ToolCall): Promise<CallToolResult> {
  extra.closeSSEStream?.();
  await pause(AWAY_MS, extra.signal);
  return said('The stream was closed and this result came by resumption.');
}

const SCHEMA_TOOL: EverythingTool = {
  tool: {
    name: 'json_schema_2020_12_tool',
    description: 'Its input schema uses what JSON Schema 2020-12 has beyond properties.',
    inputSchema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      $defs: {
        address: {
          $anchor: 'addressDef',
          type: 'object',
          properties: { street: { type: 'string' }, city: { type: 'string' } },
        },
      },
      properties: {
        name: { type: 'string' },
        address: { $ref: '#/$defs/address' },
        contactMethod: { type: 'string', enum: ['phone', 'email'] },
        phone: { type: 'string' },
        email: { type: 'string' },
      },
      allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
      if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
      // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
      then: { required: ['phone'] },
      else: { required: ['email'] },
      additionalProperties: false,
    },
  },
  run: ({ args }) => said(`Called with ${JSON.stringify(args)}`),
};

const IMAGE = { type: 'image', data: PNG, mimeType: 'image/png' } as const;

export const TOOLS: readonly EverythingTool[] = [
  plain('test_simple_text', 'Answers with one text.', () => said('This is a simple text response for testing.')),
  plain('test_image_content', 'Answers with an image.', () => ({ content: [IMAGE] })),
  plain('test_audio_content', 'Answers with a sound.', () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  })),
  plain('test_embedded_resource', 'Answers with a resource in its content.', () => ({
    content: [
      {
        type: 'resource',
        resource: {
          uri: 'test://embedded-resource',
          mimeType: 'text/plain',
          text: 'This is an embedded resource content.',
        },
      },
    ],
  })),
  plain('test_multiple_content_types', 'Answers with a text, an image and a resource.', () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      IMAGE,
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: JSON.stringify({ test: 'data', value: 123 }),
        },
      },
    ],
  })),
  plain('test_tool_with_logging', 'Logs three lines on its way.', runWithLogging),
  plain('test_tool_with_progress', 'Reports progress three times.', runWithProgress),
  plain('test_error_handling', 'Always fails.', () => ({
    ...said('This tool intentionally returns an error for testing'),
    isError: true,
  })),
  plain('test_reconnection', 'Closes its stream in mid-call.', runReconnection),
  plain('test_change_watched_resource', 'Changes test://watched-resource.', async ({ world }) => {
    await changeWatched(world);
    return said(`Change ${world.changes}`);
  }),
  SCHEMA_TOOL,
  ...QUESTION_TOOLS,
  ...ROUND_TOOLS,
];

/** The tools, and the one that stands there for a while. */
export function listTools({ more }: World): Tool[] {
  const tools = TOOLS.map(({ tool }) => tool);
  if (more.tool !== undefined)
    tools.push({ name: more.tool, description: 'For a while.', inputSchema: { type: 'object' } });
  return tools;
}

/** Runs the tool of that name; unknown names are invalid parameters. */
export async function callTool(name: string, call: ToolCall): Promise<CallToolResult> {
  const found = TOOLS.find(({ tool }) => tool.name === name);
  if (!found) throw new McpError(ErrorCode.InvalidParams, `Unknown tool: ${name}`);
  return await found.run(call);
}

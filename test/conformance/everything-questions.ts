/**
 * The tools that ask back: sampling and elicitation, with the schemas that the conformance suites look at.
 * Promises: the question goes out on the stream of the call that asked; a client that cannot be asked gets `isError` at
 * once.
 */
import {
  type CallToolResult,
  CreateMessageResultSchema,
  type ElicitRequestFormParams,
  ElicitResultSchema,
  ErrorCode,
  McpError,
} from '@modelcontextprotocol/sdk/types.js';
import type { EverythingTool, ToolCall } from './everything-tools.ts';

type Fields = ElicitRequestFormParams['requestedSchema']['properties'];

/** A person or model answers; nobody waits longer for them, ms. */
const ANSWER_MS = 60_000;

function failed(text: string): CallToolResult {
  return { content: [{ type: 'text', text }], isError: true };
}

function textOf({ args }: ToolCall, name: string): string {
  const value = args[name];
  if (typeof value !== 'string') throw new McpError(ErrorCode.InvalidParams, `${name} must be a string`);
  return value;
}

async function sample(call: ToolCall): Promise<CallToolResult> {
  const prompt = textOf(call, 'prompt');
  if (!call.session.server.getClientCapabilities()?.sampling) return failed('The client does not support sampling.');
  const answer = await call.extra.sendRequest(
    {
      method: 'sampling/createMessage',
      params: { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 100 },
    },
    CreateMessageResultSchema,
    { timeout: ANSWER_MS, signal: call.extra.signal },
  );
  const said = answer.content.type === 'text' ? answer.content.text : JSON.stringify(answer.content);
  return { content: [{ type: 'text', text: `LLM response: ${said}` }] };
}

interface Question {
  readonly message: string;
  readonly properties: Fields;
  readonly required?: string[];
  /** First words of the tool's answer. */
  readonly lead: string;
}

async function ask(call: ToolCall, { message, properties, required, lead }: Question): Promise<CallToolResult> {
  if (!call.session.server.getClientCapabilities()?.elicitation) {
    return failed('The client does not support elicitation.');
  }
  const answer = await call.extra.sendRequest(
    {
      method: 'elicitation/create',
      params: { message, requestedSchema: { type: 'object', properties, ...(required ? { required } : {}) } },
    },
    ElicitResultSchema,
    { timeout: ANSWER_MS, signal: call.extra.signal },
  );
  const text = `${lead}: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`;
  return { content: [{ type: 'text', text }] };
}

const PERSON: Fields = {
  username: { type: 'string', description: "User's response" },
  email: { type: 'string', description: "User's email address" },
};

const DEFAULTS: Fields = {
  name: { type: 'string', description: 'A string', default: 'John Doe' },
  age: { type: 'integer', description: 'An integer', default: 30 },
  score: { type: 'number', description: 'A number', default: 95.5 },
  status: { type: 'string', description: 'A choice', enum: ['active', 'inactive', 'pending'], default: 'active' },
  verified: { type: 'boolean', description: 'A yes or no', default: true },
};

const ENUMS: Fields = {
  untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
  titledSingle: {
    type: 'string',
    oneOf: [
      { const: 'value1', title: 'First Option' },
      { const: 'value2', title: 'Second Option' },
      { const: 'value3', title: 'Third Option' },
    ],
  },
  legacyEnum: {
    type: 'string',
    enum: ['opt1', 'opt2', 'opt3'],
    enumNames: ['Option One', 'Option Two', 'Option Three'],
  },
  untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
  titledMulti: {
    type: 'array',
    items: {
      anyOf: [
        { const: 'value1', title: 'First Choice' },
        { const: 'value2', title: 'Second Choice' },
        { const: 'value3', title: 'Third Choice' },
      ],
    },
  },
};

function withText(name: string, description: string, field: string, run: EverythingTool['run']): EverythingTool {
  const inputSchema = { type: 'object' as const, properties: { [field]: { type: 'string' } }, required: [field] };
  return { tool: { name, description, inputSchema }, run };
}

function withoutArguments(name: string, description: string, run: EverythingTool['run']): EverythingTool {
  return { tool: { name, description, inputSchema: { type: 'object', properties: {} } }, run };
}

export const QUESTION_TOOLS: readonly EverythingTool[] = [
  withText('test_sampling', 'Asks the client’s model.', 'prompt', sample),
  withText('test_elicitation', 'Asks the client’s user for a name and an address.', 'message', (call) =>
    ask(call, {
      message: textOf(call, 'message'),
      properties: PERSON,
      required: ['username', 'email'],
      lead: 'User response',
    }),
  ),
  withoutArguments('test_elicitation_sep1034_defaults', 'Asks with a default for every kind of field.', (call) =>
    ask(call, {
      message: 'Please review the defaults.',
      properties: DEFAULTS,
      required: [],
      lead: 'Elicitation completed',
    }),
  ),
  withoutArguments('test_elicitation_sep1330_enums', 'Asks with every kind of choice.', (call) =>
    ask(call, { message: 'Please choose.', properties: ENUMS, required: [], lead: 'Elicitation completed' }),
  ),
];

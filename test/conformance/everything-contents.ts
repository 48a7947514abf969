/**
 * Prompts, resources and completions that the conformance suites ask for.
 * Promises: unknown prompts are invalid parameters, unknown resources the era's −32002 with the URI.
 */
import {
  type CompleteRequest,
  type CompleteResult,
  ErrorCode,
  type GetPromptResult,
  McpError,
  type Prompt,
  type PromptMessage,
  type ReadResourceResult,
  type Resource,
  type ResourceTemplate,
} from '@modelcontextprotocol/sdk/types.js';
import { PNG, WATCHED_URI, type World } from './everything-world.ts';

type Arguments = Readonly<Record<string, string>>;

interface EverythingPrompt {
  readonly prompt: Prompt;
  messages(args: Arguments): PromptMessage[];
}

/** The 2025 revisions' code for a resource that is not there. */
const RESOURCE_NOT_FOUND = -32002;
const TEMPLATE = /^test:\/\/template\/([^/]+)\/data$/;
const WORDS = ['paris', 'park', 'party', 'test', 'testing', 'tested'];

function user(text: string): PromptMessage {
  return { role: 'user', content: { type: 'text', text } };
}

function argument(name: string, description: string) {
  return { name, description, required: true };
}

const PROMPT_TABLE: readonly EverythingPrompt[] = [
  {
    prompt: { name: 'test_simple_prompt', description: 'One message.' },
    messages: () => [user('This is a simple prompt for testing.')],
  },
  {
    prompt: {
      name: 'test_prompt_with_arguments',
      description: 'Says its arguments.',
      arguments: [argument('arg1', 'First test argument'), argument('arg2', 'Second test argument')],
    },
    messages: ({ arg1, arg2 }) => [user(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)],
  },
  {
    prompt: {
      name: 'test_prompt_with_embedded_resource',
      description: 'A resource in a message.',
      arguments: [argument('resourceUri', 'URI of the resource to embed')],
    },
    messages: ({ resourceUri = '' }) => [
      {
        role: 'user',
        content: {
          type: 'resource',
          resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
        },
      },
      user('Please process the embedded resource above.'),
    ],
  },
  {
    prompt: { name: 'test_prompt_with_image', description: 'An image in a message.' },
    messages: () => [
      { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
      user('Please analyze the image above.'),
    ],
  },
];

export const PROMPTS: readonly Prompt[] = PROMPT_TABLE.map(({ prompt }) => prompt);

export const RESOURCES: readonly Resource[] = [
  { uri: 'test://static-text', name: 'static-text', description: 'A text.', mimeType: 'text/plain' },
  { uri: 'test://static-binary', name: 'static-binary', description: 'An image.', mimeType: 'image/png' },
  { uri: WATCHED_URI, name: 'watched-resource', description: 'A text that changes.', mimeType: 'text/plain' },
];

export const TEMPLATES: readonly ResourceTemplate[] = [
  {
    uriTemplate: 'test://template/{id}/data',
    name: 'template-data',
    description: 'Data of an id.',
    mimeType: 'application/json',
  },
];

export function getPrompt(name: string, args: Arguments = {}): GetPromptResult {
  const found = PROMPT_TABLE.find(({ prompt }) => prompt.name === name);
  if (!found) throw new McpError(ErrorCode.InvalidParams, `Unknown prompt: ${name}`);
  const missing = found.prompt.arguments?.find((one) => one.required && args[one.name] === undefined);
  if (missing) throw new McpError(ErrorCode.InvalidParams, `Missing argument: ${missing.name}`);
  return { description: found.prompt.description, messages: found.messages(args) };
}

export function readResource(uri: string, world: World): ReadResourceResult {
  const id = TEMPLATE.exec(uri)?.[1];
  if (id !== undefined) {
    const text = JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` });
    return { contents: [{ uri, mimeType: 'application/json', text }] };
  }
  if (uri === 'test://static-text') {
    return { contents: [{ uri, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }] };
  }
  if (uri === 'test://static-binary') return { contents: [{ uri, mimeType: 'image/png', blob: PNG }] };
  if (uri === WATCHED_URI) {
    return { contents: [{ uri, mimeType: 'text/plain', text: `Watched resource, change ${world.changes}` }] };
  }
  throw new McpError(RESOURCE_NOT_FOUND, 'Resource not found', { uri });
}

/** Words that begin as the argument's value does. */
export function complete({ ref, argument: { value } }: CompleteRequest['params']): CompleteResult {
  const known = ref.type === 'ref/prompt' ? PROMPTS.some(({ name }) => name === ref.name) : isTemplate(ref.uri);
  if (!known) throw new McpError(ErrorCode.InvalidParams, 'Nothing of that name can be completed');
  const values = WORDS.filter((word) => word.startsWith(value));
  return { completion: { values, total: values.length, hasMore: false } };
}

function isTemplate(uri: string): boolean {
  return TEMPLATES.some(({ uriTemplate }) => uriTemplate === uri) || TEMPLATE.test(uri);
}

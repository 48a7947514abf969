/**
 * Asking back without a session (`input_required`): what asks its user in the middle of its work is run from its
 * beginning with each answer that has come, and stops at the first question that has none.
 * Promises: so what `everything-*.ts` asks needs not be written twice; answers of earlier rounds travel in
 * `requestState`, which is signed and good for the same request only; nothing is asked that the client has not
 * declared; what is answered must be an answer.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { safeParse } from '@modelcontextprotocol/sdk/server/zod-compat.js';
import { type ClientCapabilities, ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import type { Extra } from './everything-world.ts';
import { CODE, type ModernMessage } from './modern-claim.ts';

type Ask = Extra['sendRequest'];
type Answers = Readonly<Record<string, unknown>>;

interface Question {
  readonly method: string;
  readonly params?: Readonly<Record<string, unknown>> | undefined;
}

const KEY = randomBytes(32);
const NEEDS: Readonly<Record<string, keyof ClientCapabilities>> = {
  'elicitation/create': 'elicitation',
  'sampling/createMessage': 'sampling',
  'roots/list': 'roots',
};

/** Runs `work`, or asks what it asks. */
export function inRounds(
  message: ModernMessage,
  capabilities: ClientCapabilities,
  work: (ask: Ask) => Promise<object>,
): Promise<object> {
  const about = JSON.stringify([message.method, message.params?.name, message.params?.uri]);
  const answers: Answers = { ...opened(message.params?.requestState, about), ...responsesIn(message) };
  // bounded by: what the tool asks
  const questions: Record<string, Question> = {};
  return new Promise((resolve, reject) => {
    const ask = ((question, schema) => {
      const need = NEEDS[question.method];
      if (need !== undefined && !capabilities[need]) return Promise.reject(missing({ [need]: {} }));
      const key = keyOf(question);
      const given = Object.hasOwn(answers, key) ? safeParse(schema, answers[key]) : undefined;
      if (given?.success) return Promise.resolve(given.data);
      if (given) return Promise.reject(new McpError(ErrorCode.InvalidParams, `inputResponses.${key} is no answer`));
      // What is asked side by side is asked together.
      if (Object.keys(questions).length === 0)
        setImmediate(() => resolve(inputRequired(questions, sealed({ about, answers }))));
      questions[key] = { method: question.method, params: question.params ?? {} };
      return new Promise(() => {});
    }) as Ask;
    work(ask).then(resolve, reject);
  });
}

export function missing(requiredCapabilities: ClientCapabilities): McpError {
  return new McpError(CODE.missingCapability, 'A capability of the client is missing', { requiredCapabilities });
}

function inputRequired(inputRequests: object, requestState: string): object {
  return { resultType: 'input_required', inputRequests, requestState };
}

/** `user_name` for a form that asks for a name: the suite wants this one. */
function keyOf({ method, params }: Question): string {
  const schema = params?.requestedSchema as { properties?: object } | undefined;
  if (schema) return ['user', ...Object.keys(schema.properties ?? {}).slice(0, 1)].join('_');
  return method === 'roots/list' ? 'client_roots' : 'sample';
}

function responsesIn({ params }: ModernMessage): Answers {
  const responses = params?.inputResponses;
  if (responses === undefined) return {};
  if (typeof responses === 'object' && responses !== null && !Array.isArray(responses)) return responses as Answers;
  throw new McpError(ErrorCode.InvalidParams, 'inputResponses must be an object');
}

function sealed(state: object): string {
  const text = Buffer.from(JSON.stringify(state)).toString('base64url');
  return `${text}.${macOf(text).toString('base64url')}`;
}

function opened(state: unknown, about: string): Answers {
  if (state === undefined) return {};
  const [text = '', mac = '', ...rest] = String(state).split('.');
  const given = Buffer.from(mac, 'base64url');
  const own = macOf(text);
  const isOurs = rest.length === 0 && given.toString('base64url') === mac && given.length === own.length;
  if (isOurs && timingSafeEqual(given, own)) {
    const inside = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as { about: string; answers: Answers };
    if (inside.about === about) return inside.answers;
  }
  throw new McpError(ErrorCode.InvalidParams, 'This requestState is not one of ours for this request');
}

function macOf(text: string): Buffer {
  return createHmac('sha256', KEY).update(text).digest();
}

/**
 * Methods that the hub answers itself: initialize, ping, and the first messages of some Cursor builds (offerings,
 * capabilities).
 * Guarantees: answered from memory, with or without a session; the offerings are those of the caller's view.
 */
import { viewKey } from '../auth/access.ts';
import { isRefusal, type Outcome } from '../model/outcome.ts';
import { initializeResult, readInitialize } from '../protocol/era-2025/initialize.ts';
import { discoverResult } from '../protocol/era-2026/results.ts';
import { jsonBytes } from '../protocol/json-text.ts';
import type { Call, Reply } from './call.ts';
import type { PipelineParts } from './pipeline-parts.ts';

const EMPTY = Buffer.from('{}');
const EMPTY_PARAMS = Buffer.from('{}');
/** Limit for one server's instructions, and for all together, in characters. */
const INSTRUCTIONS_EACH = 2048;
const INSTRUCTIONS_ALL = 16_384;

/** Returns undefined for other methods. */
export function answerInitialize(call: Call, parts: PipelineParts): Outcome<Reply> | undefined {
  switch (call.envelope.method) {
    case 'initialize':
      return initialize(call, parts);
    case 'server/discover':
      return discover(call, parts);
    case 'ping':
      return { kind: 'result', json: EMPTY };
    case 'offerings/list':
      return { kind: 'result', json: jsonBytes({ offerings: offerings(call) }) };
    case 'capabilities':
    case 'capabilities/list':
      return { kind: 'result', json: jsonBytes({ capabilities: CAPABILITIES }) };
    default:
      return undefined;
  }
}

/**
 * All lists are answered, so all are declared: clients that request an undeclared list fail (Cursor, Cline, opencode).
 */
const CAPABILITIES = {
  tools: { listChanged: true },
  prompts: { listChanged: true },
  resources: { listChanged: true, subscribe: true },
  completions: {},
  logging: {},
} as const;

function offerings(call: Call): Record<'tools' | 'prompts' | 'resources' | 'logging', boolean> {
  const { toolCount, promptCount, resourceCount, templateCount } = call.view;
  const resources = resourceCount + templateCount > 0;
  return { tools: toolCount > 0, prompts: promptCount > 0, resources, logging: true };
}

function initialize(call: Call, parts: PipelineParts): Outcome<Reply> {
  const { bytes, params } = call.envelope;
  const hello = readInitialize(params.at < 0 ? EMPTY_PARAMS : bytes.subarray(params.at, params.end));
  if (isRefusal(hello)) return hello;
  const session = parts.sessions.create({
    principal: call.principal,
    owner: call.owner,
    path: viewKey(call.viewName),
    version: hello.version,
    clientName: hello.clientName,
    clientVersion: hello.clientVersion,
    capabilityBits: hello.capabilityBits,
  });
  parts.runtime.bus.publish({
    type: 'session-created',
    session: session.shortId,
    user: call.principal.userName,
    client: `${session.clientName} ${session.clientVersion}`.trim(),
    version: session.version,
    path: session.path,
  });
  const json = initializeResult({
    version: hello.version,
    capabilities: CAPABILITIES,
    instructions: instructionsOf(call),
    serverName: 'mcphub',
    serverVersion: parts.version,
  });
  return { kind: 'result', json, session };
}

/** Answers server/discover of the stateless era. A client of the 2025 era gets "method not found", as it expects. */
function discover(call: Call, parts: PipelineParts): Outcome<Reply> | undefined {
  if (!call.incoming.requestMeta) return undefined;
  const json = discoverResult({
    capabilities: CAPABILITIES,
    instructions: instructionsOf(call),
    serverName: 'mcphub',
    serverVersion: parts.version,
  });
  return { kind: 'result', json };
}

/** Returns the servers' own instructions, each under its name. */
function instructionsOf(call: Call): string {
  const visible = new Set(call.view.servers); // bounded by: servers
  let text = '';
  for (const listing of call.snapshot.listings) {
    if (!visible.has(listing.server) || listing.instructions === '') continue;
    text += `## ${listing.server}\n${listing.instructions.slice(0, INSTRUCTIONS_EACH)}\n\n`;
    if (text.length > INSTRUCTIONS_ALL) break;
  }
  return text.slice(0, INSTRUCTIONS_ALL).trim();
}

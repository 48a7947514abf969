/**
 * The schema of the configuration file (zod 4) and the source of the published JSON Schema, so every key has a
 * description. `servers.ts`, `groups.ts` and `limit-values.ts` check what needs several keys, a range or the
 * environment.
 * Guarantees: unknown keys are refused; unsupported keys of the original MCPHub and of common clients are accepted and
 * marked deprecated, so that such files stay valid.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the notation of the file is meant
import { z } from 'zod';
import { FORMER_NAMES, LIMIT_NAMES, LIMITS } from './limits.ts';
import { QUANTITY_PATTERN, quantityText } from './quantity.ts';

const plain = z.union([z.string(), z.number(), z.boolean()], { error: 'text' });

const quantity = z.union([z.number(), z.string().meta({ pattern: QUANTITY_PATTERN })], {
  error: 'a number, or a text such as "5s" or "4MiB"',
});

function ignored(what: string): z.ZodOptional<z.ZodUnknown> {
  return z.unknown().meta({ description: what, deprecated: true }).optional();
}

/** Server keys of the original and of clients: accepted without effect, and reported as warnings. */
export const FOREIGN_SERVER_KEYS = {
  description: 'Not used.',
  owner: 'The original’s owner of a server; not used.',
  visibility: 'Not used.',
  prompts: 'The original’s switches for prompts; not used.',
  resources: 'The original’s switches for resources; not used.',
  openapi: 'OpenAPI servers are not served in this version.',
  oauth: 'OAuth towards servers is not served in this version.',
  proxy: 'Not used.',
  passthroughHeaders: 'Not used.',
  keepAliveInterval: 'Not used: pingEveryMs in limits does this for every server.',
  enableKeepAlive: 'Not used: pingEveryMs in limits does this for every server.',
  perSession: 'Not used.',
  autoApprove: 'A setting of a client; not used.',
  alwaysAllow: 'A setting of a client; not used.',
  disabledTools: 'A setting of a client; use tools: { <name>: { "enabled": false } }.',
} as const;

/** The same for top-level keys. */
export const FOREIGN_TOP_KEYS = {
  users: 'The original’s users; not used.',
  systemConfig: 'The original’s settings; not used.',
  userConfigs: 'The original’s settings of users; not used.',
  bearerKeys: 'The original’s keys; make new ones with `mcphub keys create`.',
  oauthClients: 'Not used.',
  oauthTokens: 'Not used.',
  prompts: 'The original’s prompts; not used.',
  resources: 'The original’s resources; not used.',
  inputs: 'Inputs of VS Code; use ${VARIABLE} from the environment.',
} as const;

function ignoredKeys<K extends string>(keys: Readonly<Record<K, string>>): Record<K, z.ZodOptional<z.ZodUnknown>> {
  const shape = {} as Record<K, z.ZodOptional<z.ZodUnknown>>;
  for (const key of Object.keys(keys) as K[]) shape[key] = ignored(keys[key]);
  return shape;
}

const times = {
  silenceMs: quantity.optional().meta({ description: 'Longest time in a call without a response or progress.' }),
  totalMs: quantity.optional().meta({ description: 'Total time of a call, whatever progress it sends.' }),
  callTimeoutMs: quantity.optional().meta({ description: 'Strict timeout of a call, which progress does not extend.' }),
};

const programKeys = {
  args: z.array(plain).optional().meta({ description: 'Arguments. ${VARIABLE} and ${VARIABLE:-default} are put in.' }),
  env: z.record(z.string(), plain).optional().meta({
    description: 'Environment of the program, on top of a small list of inherited variables. ${VARIABLE} is put in.',
  }),
  cwd: z.string().optional().meta({
    description: 'Working directory; relative to the directory of this file, which is also the default.',
  }),
};

const launchSchema = z
  .strictObject({ command: z.string().meta({ description: 'Program that listens at the url.' }), ...programKeys })
  .meta({
    description:
      'The hub also runs the program that listens at `url`. ${PORT} in url, args and env is a free port given at start.',
  });

const toolSchema = z.strictObject({
  enabled: z.boolean().optional().meta({ description: 'false hides the tool.' }),
  ...times,
  description: ignored('The original’s own description of a tool; not used.'),
});

export const SERVER_TYPES = {
  stdio: 'stdio',
  local: 'stdio',
  sse: 'sse',
  http: 'http',
  'streamable-http': 'http',
  streamableHttp: 'http',
  streamable_http: 'http',
  remote: 'remote',
  openapi: 'openapi',
} as const;

export type ServerKind = (typeof SERVER_TYPES)[keyof typeof SERVER_TYPES];

const originalTimes = z
  .object({ timeout: z.number().optional(), maxTotalTimeout: z.number().optional() })
  .optional()
  .meta({
    description: 'The original’s times: timeout is read as silenceMs, maxTotalTimeout as totalMs.',
    deprecated: true,
  });

export const serverSchema = z.strictObject({
  type: z
    .enum(Object.keys(SERVER_TYPES) as (keyof typeof SERVER_TYPES)[])
    .optional()
    .meta({
      description:
        'stdio when there is a command; with a url streamable-http, or sse when its path ends in /sse. The other names are aliases.',
    }),
  command: z.string().optional().meta({ description: 'Program of a stdio server. No shell is involved.' }),
  ...programKeys,
  url: z.string().optional().meta({ description: 'Address of a remote server. ${VARIABLE} is put in.' }),
  headers: z.record(z.string(), plain).optional().meta({
    description: 'Sent with every request to a remote server. ${VARIABLE} is put in.',
  }),
  launch: launchSchema.optional(),
  enabled: z.boolean().optional().meta({ description: 'false switches the server off.' }),
  disabled: z.boolean().optional().meta({ description: 'true switches the server off; the same as enabled: false.' }),
  era: z
    .enum(['auto', '2025', '2026'])
    .optional()
    .meta({
      description:
        'Protocol of the server: 2025 = initialize (dates up to 2025-11-25), 2026 = stateless (2026-07-28), ' +
        'auto (default) = initialize, and the other where that is refused.',
    }),
  interactive: z.boolean().optional().meta({
    description:
      'The server sends requests to users (elicitation, sampling, roots): each client session gets a separate connection to it.',
  }),
  getStream: z
    .boolean()
    .optional()
    .meta({
      description:
        'false = the hub opens no GET stream to a Streamable HTTP server, ' +
        'for servers that handle one request at a time. It also detects such servers automatically.',
    }),
  ...times,
  inFlight: z.number().optional().meta({ description: 'Maximum number of calls in flight at the server.' }),
  startMs: quantity.optional().meta({ description: 'From the start of the program to its first answer.' }),
  installMs: quantity.optional().meta({ description: 'Fetching its package, in the background.' }),
  tools: z
    .record(z.string(), toolSchema)
    .optional()
    .meta({ description: 'Settings of single tools, by their native names.' }),
  options: originalTimes,
  ...ignoredKeys(FOREIGN_SERVER_KEYS),
});

export const groupSchema = z.strictObject({
  servers: z
    .union([z.literal('*'), z.array(z.string())], { error: '"*" or an array of server names' })
    .meta({ description: 'Names of servers as in mcpServers, or "*" for all.' }),
  tools: z.record(z.string(), z.array(z.string())).optional().meta({
    description: 'By server: native names of the tools that this group sees; a server without an entry gives all.',
  }),
  access: z.enum(['key', 'anonymous']).optional().meta({
    description: 'anonymous needs no key, on loopback only. The default is key.',
  }),
});

/** Groups in the original's form: an array; members may be objects that select tools. */
const originalGroupSchema = z.looseObject({
  name: z.string(),
  servers: z.array(
    z.union(
      [
        z.string(),
        z.looseObject({
          name: z.string(),
          tools: z
            .union([z.literal('all'), z.array(z.string())], { error: '"all" or an array of tool names' })
            .optional(),
        }),
      ],
      { error: 'the name of a server' },
    ),
  ),
});

function limitShape(): Record<string, z.ZodOptional<typeof quantity>> {
  const shape: Record<string, z.ZodOptional<typeof quantity>> = {};
  for (const name of LIMIT_NAMES) {
    const { unit, min, max, why, default: standard, env } = LIMITS[name];
    const range = `${quantityText(min, unit)} to ${quantityText(max, unit)}`;
    const description = `${why} Default ${quantityText(standard, unit)}, ${range}; environment ${env}.`;
    shape[name] = quantity.optional().meta({ description });
    const former = FORMER_NAMES[name];
    if (former)
      shape[former.name] = quantity.optional().meta({ description: `Former name of ${name}.`, deprecated: true });
  }
  return shape;
}

const texts = z.array(z.string()).optional();

/** The whole file. */
export const fileSchema = z
  .strictObject({
    $schema: z.string().optional().meta({ description: 'Address of this JSON Schema, for editors.' }),
    mcpServers: z.record(z.string(), serverSchema).meta({ description: 'The servers, by name (any letters).' }),
    groups: z
      .record(z.string(), groupSchema)
      .optional()
      .meta({ description: 'Named sets of servers and tools: /mcp/<group>.' }),
    limits: z
      .strictObject(limitShape())
      .optional()
      .meta({ description: 'Figures of docs/limits.md that differ from their defaults.' }),
    settings: z
      .strictObject({
        allowedHosts: texts.meta({
          description: 'Host names accepted besides loopback; environment MCPHUB_ALLOWED_HOSTS.',
        }),
        allowedOrigins: texts.meta({
          description:
            'Origins accepted besides loopback, such as https://ui.example.com, http://localhost:*, ' +
            'https://*.example.com or app://obsidian.md; environment MCPHUB_ALLOWED_ORIGINS.',
        }),
        trustedProxies: texts.meta({
          description:
            'Addresses and networks (10.0.0.0/8) of reverse proxies: only their X-Forwarded-For and Forwarded name ' +
            'the client’s address, and they have no share of connections themselves; ' +
            'environment MCPHUB_TRUSTED_PROXIES.',
        }),
        watchConfig: z.boolean().optional().meta({
          description:
            'false: this file is read at start and upon `mcphub reload` or SIGHUP only. Default true; environment MCPHUB_WATCH_CONFIG (1 or 0).',
        }),
        legacySse: z.boolean().optional().meta({
          description:
            'Clients of 2024-11-05 are served at /sse and /messages. Default true; environment MCPHUB_LEGACY_SSE (1 or 0).',
        }),
        keyInQuery: z
          .boolean()
          .optional()
          .meta({
            description:
              'A key may also come as ?key=…, for clients that cannot send headers; ' +
              'addresses end up in logs and histories. Default false; environment MCPHUB_KEY_IN_QUERY (1 or 0).',
          }),
      })
      .optional(),
    ...ignoredKeys(FOREIGN_TOP_KEYS),
  })
  .meta({
    title: 'MCPHub configuration',
    description: 'mcp_settings.json or mcphub.jsonc: comments and trailing commas are fine.',
  });

/** The same with the original's array of groups. */
export const originalFileSchema = fileSchema.extend({ groups: z.array(originalGroupSchema) });

export type RawServer = z.infer<typeof serverSchema>;
export type RawLaunch = z.infer<typeof launchSchema>;
export type RawTool = z.infer<typeof toolSchema>;
export type RawGroup = z.infer<typeof groupSchema>;
export type RawOriginalGroup = z.infer<typeof originalGroupSchema>;

/** Returns the keys that the schema defines in the object at `path`. */
export function keysAt(path: readonly (string | number)[]): readonly string[] {
  const [top, , third] = path;
  if (path.length === 0) return Object.keys(fileSchema.shape);
  if (top === 'limits') return LIMIT_NAMES;
  if (top === 'settings')
    return ['allowedHosts', 'allowedOrigins', 'trustedProxies', 'watchConfig', 'legacySse', 'keyInQuery'];
  if (top === 'groups') return Object.keys(groupSchema.shape);
  if (path.length === 2) return Object.keys(serverSchema.shape);
  return Object.keys(third === 'launch' ? launchSchema.shape : toolSchema.shape);
}

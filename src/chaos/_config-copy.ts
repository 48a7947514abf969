/**
 * Copies a configuration for a sandbox. Pure.
 * Guarantees: contains every server of the file unless excluded; relative directories keep their meaning.
 */
import { dirname, isAbsolute, resolve } from 'node:path';
import { parse } from 'jsonc-parser';

type Raw = Readonly<Record<string, unknown>>;

/** Returns the copy. `text` is the content of `file` (JSON with comments); undefined when there is none. */
export function copyOf(text: string | undefined, file: string, options: { readonly withServers: boolean }): Raw {
  const top = recordOf(text === undefined ? {} : parse(text, [], { allowTrailingComma: true }));
  // Groups refer to servers.
  const { $schema: _, groups, ...rest } = top;
  if (!options.withServers) return { ...rest, mcpServers: {} };
  const servers = Object.entries(recordOf(top.mcpServers)).map(([name, server]) => [
    name,
    placed(server, dirname(file)),
  ]);
  return { ...rest, ...(groups === undefined ? {} : { groups }), mcpServers: Object.fromEntries(servers) };
}

/** Makes directories absolute, because they are relative to the file and the copy is elsewhere. */
function placed(server: unknown, dir: string): unknown {
  if (typeof server !== 'object' || server === null) return server;
  const raw = server as Raw;
  const launch = raw.launch === undefined ? {} : { launch: placed(raw.launch, dir) };
  if (typeof raw.command !== 'string') return { ...raw, ...launch };
  const cwd = typeof raw.cwd === 'string' && raw.cwd !== '' ? raw.cwd : '.';
  // A variable may contain an absolute path.
  const isFree = isAbsolute(cwd) || cwd.startsWith('$') || cwd.startsWith('~');
  return { ...raw, ...launch, cwd: isFree ? cwd : resolve(dir, cwd) };
}

function recordOf(value: unknown): Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : {};
}

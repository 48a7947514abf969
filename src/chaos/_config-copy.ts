/**
 * The copy of a configuration that a sandbox starts with. Pure.
 * Promises: every server that the file has, unless told otherwise; directories mean what they meant beside the file.
 */
import { dirname, isAbsolute, resolve } from 'node:path';
import { parse } from 'jsonc-parser';

type Raw = Readonly<Record<string, unknown>>;

/** `text` = content of `file` (JSON with comments); undefined = there is none. */
export function copyOf(text: string | undefined, file: string, options: { readonly withServers: boolean }): Raw {
  const top = recordOf(text === undefined ? {} : parse(text, [], { allowTrailingComma: true }));
  // Groups name servers.
  const { $schema: _, groups, ...rest } = top;
  if (!options.withServers) return { ...rest, mcpServers: {} };
  const servers = Object.entries(recordOf(top.mcpServers)).map(([name, server]) => [
    name,
    placed(server, dirname(file)),
  ]);
  return { ...rest, ...(groups === undefined ? {} : { groups }), mcpServers: Object.fromEntries(servers) };
}

/** Relative directories are relative to the file, and the copy lies elsewhere. */
function placed(server: unknown, dir: string): unknown {
  if (typeof server !== 'object' || server === null) return server;
  const raw = server as Raw;
  const launch = raw.launch === undefined ? {} : { launch: placed(raw.launch, dir) };
  if (typeof raw.command !== 'string') return { ...raw, ...launch };
  const cwd = typeof raw.cwd === 'string' && raw.cwd !== '' ? raw.cwd : '.';
  // A variable may hold an absolute path.
  const isFree = isAbsolute(cwd) || cwd.startsWith('$') || cwd.startsWith('~');
  return { ...raw, ...launch, cwd: isFree ? cwd : resolve(dir, cwd) };
}

function recordOf(value: unknown): Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : {};
}

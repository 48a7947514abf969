/** The options of `mcphub start`: one table for commander's help and for the fast path without commander. */
import { parseArgs } from 'node:util';

export interface StartOptions {
  readonly config?: string;
  readonly port?: string;
  readonly host?: string;
  readonly workers?: string;
  /** Former name of `workers`. */
  readonly hubs?: string;
  readonly dataDir?: string;
  readonly example?: boolean;
}

interface StartOption {
  readonly name: string;
  readonly short?: string;
  /** Placeholder of its value in the help; undefined for a switch. */
  readonly value?: string;
  readonly says: string;
  /** A former name, which the help does not show. */
  readonly isFormer?: true;
}

export const START_OPTIONS: readonly StartOption[] = [
  {
    name: 'config',
    short: 'c',
    value: 'file',
    says: 'configuration file (default: MCPHUB_CONFIG, ./mcp_settings.json, ./mcphub.jsonc, ~/.config/mcphub/)',
  },
  { name: 'port', short: 'p', value: 'port', says: 'port to listen on (PORT; default 3000)' },
  { name: 'host', value: 'address', says: 'address to listen on (HOST; default 127.0.0.1 and ::1)' },
  { name: 'workers', value: 'n', says: 'number of worker processes (MCPHUB_WORKERS; default 1)' },
  { name: 'hubs', value: 'n', says: 'former name of --workers', isFormer: true },
  {
    name: 'data-dir',
    value: 'dir',
    says: 'directory for keys, names and the last catalog (MCPHUB_DATA_DIR; default ~/.local/share/mcphub)',
  },
  { name: 'example', says: 'use the example servers when no configuration is found' },
];

/** Returns the flags in commander's form: `-p, --port <port>`. */
export function flagsOf({ name, short, value }: StartOption): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`;
}

/** Returns the options in `words`, or undefined when commander must handle them: help, an error, an unknown option. */
export function startOptionsFrom(words: readonly string[]): StartOptions | undefined {
  const options = Object.fromEntries(
    START_OPTIONS.map(({ name, short, value }) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const), ...(short ? { short } : {}) },
    ]),
  );
  try {
    const { 'data-dir': dataDir, ...rest } = parseArgs({ args: [...words], options, strict: true }).values;
    return { ...rest, ...(typeof dataDir === 'string' ? { dataDir } : {}) };
  } catch {
    return undefined;
  }
}

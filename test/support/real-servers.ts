/**
 * Configurations with the real servers of the development dependencies, so that a journey meets what users meet.
 */
import { ROOT } from './hub.ts';

const SCOPE = `${ROOT}/node_modules/@modelcontextprotocol`;

/** server-everything over stdin and stdout. */
export const EVERYTHING = { command: 'node', args: [`${SCOPE}/server-everything/dist/index.js`, 'stdio'] } as const;

/** The fault server over stdin and stdout; flags are in `fault-stdio.ts`. */
export function faultServer(...flags: readonly string[]) {
  return { command: 'node', args: [`${ROOT}/test/support/fault-stdio.ts`, ...flags] };
}

/** server-filesystem over the example files. */
export const FILESYSTEM = {
  command: 'node',
  args: [`${SCOPE}/server-filesystem/dist/index.js`, `${ROOT}/examples/files`],
} as const;

/** server-memory; for reading only, because what it remembers would stay in its own directory. */
export const MEMORY = { command: 'node', args: [`${SCOPE}/server-memory/dist/index.js`] } as const;

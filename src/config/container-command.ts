/**
 * Servers that are containers. The hub ends the program that it starts (`docker run`), and not the container: whether that ends with it depends on the
 * arguments.
 */
import { basename } from 'node:path';

const PROGRAMS: ReadonlySet<string> = new Set(['docker', 'podman', 'nerdctl']);
const NEEDED = ['--rm', '--init'] as const;

/**
 * Returns the options that are missing for a container that does not outlive its server: without `--init` a program that is PID 1 of its container may ignore
 * SIGTERM, and without `--rm` the container is left behind. Empty where the command starts no container.
 */
export function missingContainerOptions(command: string, args: readonly string[]): readonly string[] {
  if (!PROGRAMS.has(basename(command))) return [];
  const run = args.indexOf('run');
  if (run < 0) return [];
  return NEEDED.filter((option) => !args.some((one) => one === option || one === `${option}=true`));
}

/**
 * Programs of the system that the tests need: found, or installed where this process may (Debian, root).
 * Promises: says what is missing and what it is for; in CI something missing is a failure, never a skip.
 */
import { execFileSync, spawnSync } from 'node:child_process';

interface Need {
  readonly command: string;
  readonly package: string;
  readonly why: string;
}

const NEEDS: readonly Need[] = [
  { command: 'setpriv', package: 'util-linux', why: 'children that die with the hub' },
  { command: 'script', package: 'bsdutils', why: 'a terminal that nobody reads' },
  { command: 'python3', package: 'python3-minimal', why: 'a terminal that nobody reads' },
  { command: 'openssl', package: 'openssl', why: 'certificates for TLS tests' },
  { command: 'cc', package: 'gcc', why: 'the load generator of the bench' },
  { command: 'nginx', package: 'nginx-light', why: 'what the bench compares with' },
  { command: 'chromium', package: 'chromium', why: 'pages of an allowed origin' },
  { command: 'curl', package: 'curl', why: 'the lines of the README' },
  { command: 'jq', package: 'jq', why: 'the lines of the README' },
];

function isThere(command: string): boolean {
  return (
    spawnSync('sh', ['-c', `command -v ${command}`], {
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    }).status === 0
  );
}

function missing(): Need[] {
  return NEEDS.filter((need) => !isThere(need.command));
}

function mayInstall(): boolean {
  return process.getuid?.() === 0 && isThere('apt-get');
}

/** Throws when something is missing that could not be installed. */
export function ensureSystem(): void {
  const first = missing();
  if (first.length === 0) return;
  const packages = [...new Set(first.map((need) => need.package))];
  if (mayInstall()) {
    console.log(`installing ${packages.join(' ')}`);
    const options = {
      stdio: ['ignore', 'ignore', 'inherit'] as ('ignore' | 'inherit')[],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    };
    execFileSync('apt-get', ['update', '-qq'], options);
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], options);
  }
  const left = missing();
  if (left.length === 0) return;
  const list = left.map((need) => `  ${need.command} (package ${need.package}): ${need.why}`).join('\n');
  throw new Error(
    `These programs are missing:\n${list}\nInstall them: apt-get install ${left.map((need) => need.package).join(' ')}`,
  );
}

/**
 * Another machine, as far as TCP can tell: a network of its own behind a cable that can be cut without a word to either
 * side. Needs root.
 * Promises: `close` ends what it started and takes the cable away.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cleanEnv } from './hub.ts';

export interface FarPlace {
  /** Address of this side, and of the other. */
  readonly near: string;
  readonly far: string;
  readonly child: ChildProcess;
  /** From now on nothing arrives over there. */
  cut(): void;
  close(): void;
}

/**
 * Runs node with `words` over there; `subnet` = a number that no other test uses. Resolves when it has printed
 * something.
 */
export async function startFarPlace(subnet: number, words: readonly string[]): Promise<FarPlace> {
  const wait = 'ip link set lo up; while ! ip addr show up | grep -q 10.213; do sleep 0.05; done; exec "$@"';
  const child = spawn('unshare', ['-n', 'sh', '-c', `echo up; ${wait}`, 'sh', process.execPath, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: cleanEnv(),
  });
  await new Promise((done) => child.stdout.once('data', done));
  const [near, far] = [`mh${subnet}a`, `mh${subnet}b`];
  const run = (program: string, ...args: string[]): void => {
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  };
  const there = (...args: string[]): void => run('nsenter', '-t', String(child.pid), '-n', 'ip', ...args);
  run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', String(child.pid));
  run('ip', 'addr', 'add', `10.213.${subnet}.1/30`, 'dev', near);
  run('ip', 'link', 'set', near, 'up');
  there('addr', 'add', `10.213.${subnet}.2/30`, 'dev', far);
  const printed = new Promise((done) => child.stdout.once('data', done));
  there('link', 'set', far, 'up');
  await printed;
  return {
    ...{ near: `10.213.${subnet}.1`, far: `10.213.${subnet}.2`, child },
    cut: () => there('addr', 'flush', 'dev', far),
    close: () => {
      child.kill('SIGKILL');
      spawnSync('ip', ['link', 'del', near]);
    },
  };
}

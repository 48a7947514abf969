/**
 * A container tool for tests: the part of `docker` that matters for the life of containers. As with the real one the
 * container is no descendant of the client, has none of its environment, lives on when the client gets SIGKILL, and
 * gets SIGTERM when the client does (PID 1 may ignore it).
 *
 *   docker run [-i] [--rm] [--init] [--name N] [--cidfile F] [--label=K=V] IMAGE ARGS…   IMAGE is a script for node
 *   docker ps [-a] -q --filter label=K=V · docker inspect --format '{{index .Config.Labels "K"}}' ID…
 *   docker rm -f ID… · docker kill ID…
 *
 * Its containers are directories in FAKE_DOCKER, named by their ids. What answers at once with the real tool is a shell
 * script; this file is `run`.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly pid: number;
}

export interface FakeDocker extends Disposable {
  /** A stdio server that runs `script` in a container, as it stands in mcp_settings.json. */
  server(options: readonly string[], script: string, ...args: string[]): object;
  /** Running containers. */
  running(): Container[];
  /** Those that have ended and were not removed, too. */
  all(): Container[];
}

const TOOL = `#!/bin/sh
cd "$FAKE_DOCKER" || exit 125
running() { grep -qs '^State:.[^Z]' "/proc/$(cat "$1/pid")/status"; }
fail() { echo "docker: $*" >&2; exit 125; }
command=$1; shift
case $command in
run) exec NODE FILE "$@";;
ps)
  for label; do :; done
  for one in [0-9a-f]*; do
    grep -qxsF "\${label#label=}" "$one/labels" || continue
    running "$one" || { [ -e "$one/rm" ] && rm -rf "$one" && continue; [ "$1" = -a ] || continue; }
    echo "$one" | cut -c 1-12
  done;;
inspect)
  key=$(echo "$2" | cut -d '"' -f 2); shift 2
  for one; do sed -n "s/^$key=//p" "$one"*/labels || fail "no such container: $one"; done;;
kill | rm)
  [ "$1" = -f ] && shift
  for one; do
    [ -e "$(echo "$one"*)/pid" ] || fail "no such container: $one"
    kill -9 "$(cat "$one"*/pid)" 2>/dev/null
    [ $command = kill ] || rm -rf "$one"*
  done;;
*) fail "unknown command $command";;
esac
exit 0
`;

export function fakeDocker(): FakeDocker {
  const directory = mkdtempSync(join(tmpdir(), 'mcphub-docker-'));
  const program = join(directory, 'docker');
  const text = TOOL.replace('NODE', `'${process.execPath}'`).replace('FILE', `'${import.meta.filename}'`);
  writeFileSync(program, text, { mode: 0o755 });
  const all = (): Container[] => containersIn(directory);
  return {
    server: (options, script, ...args) => ({
      command: program,
      args: ['run', ...options, script, ...args],
      env: { FAKE_DOCKER: directory },
    }),
    running: () => all().filter(({ pid }) => isAlive(pid)),
    all,
    [Symbol.dispose]: () => {
      for (const { pid } of all()) if (pid > 1 && isAlive(pid)) process.kill(pid, 'SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

// The program loads no other file of the tests, for it is started often.
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function containersIn(directory: string): Container[] {
  const ids = readdirSync(directory).filter((name) => /^[0-9a-f]{64}$/.test(name));
  return ids.flatMap((id) => {
    const read = (file: string): string => readFileSync(join(directory, id, file), 'utf8').trim();
    try {
      const container = { id, name: read('name'), pid: Number(read('pid')) };
      const isRemoved = existsSync(join(directory, id, 'rm')) && !isAlive(container.pid);
      return isRemoved ? [] : [container];
    } catch {
      return []; // being made, or removed
    }
  });
}

function fail(message: string): never {
  process.stderr.write(`docker: ${message}\n`);
  process.exit(125);
}

function run(directory: string, words: readonly string[]): void {
  const labels: string[] = [];
  let [name, cidfile, isRemoved] = ['', '', false];
  let at = 0;
  for (; words[at]?.startsWith('-'); at += 1) {
    const [option, joined] = (words[at] ?? '').split(/=(.*)/s);
    const value = (): string => joined ?? words[++at] ?? '';
    if (option === '--rm') isRemoved = true;
    else if (option === '--name') name = value();
    else if (option === '--cidfile') cidfile = value();
    else if (option === '--label') labels.push(value());
    else if (option !== '-i' && option !== '--init') fail(`unknown option ${option}`);
  }
  if (name !== '' && containersIn(directory).some((one) => one.name === name)) fail(`the name ${name} is in use`);
  if (cidfile !== '' && existsSync(cidfile)) fail(`container ID file found, delete ${cidfile}`);
  const [script = '', ...args] = words.slice(at);
  const child = spawn(process.execPath, [script, ...args], { detached: true, env: {}, stdio: 'pipe' });
  const id = randomBytes(32).toString('hex');
  const own = join(directory, id);
  mkdirSync(own);
  if (isRemoved) writeFileSync(join(own, 'rm'), '');
  if (cidfile !== '') writeFileSync(cidfile, id);
  for (const [file, content] of [
    ['name', name],
    ['labels', labels.join('\n')],
    ['pid', String(child.pid)],
  ] as const)
    writeFileSync(join(own, file), `${content}\n`);
  process.stdin.pipe(child.stdin);
  child.stdin.on('error', () => {});
  child.stdout.pipe(process.stdout);
  child.stderr.pipe(process.stderr);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('exit', (code) => process.exit(code ?? 137));
}

if (realpathSync(process.argv[1] ?? '') === import.meta.filename)
  run(process.env.FAKE_DOCKER ?? fail('FAKE_DOCKER is not set'), process.argv.slice(2));

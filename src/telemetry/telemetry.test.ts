/**
 * The telemetry service in a real process: log readers that stall, close or fill up, and readers that keep up.
 * covers: A8, L5
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { type RigOptions, startChild, type TelemetryChild, tempDir } from '../../test/support/telemetry-rig.ts';

const LINES = 20_000;
/** Largest gap in ms: a second would be a stall, and a loaded machine causes some delay. */
const MAX_GAP_MS = 800;
const MiB = 1024 * 1024;
/** A queue of 1 MiB, its copy being written, and garbage of the engine; all lines together are 6 MB of text. */
const GROWTH_BYTES = 64 * MiB;

async function survives(t: Parameters<typeof startChild>[0], stdout: RigOptions['stdout']): Promise<TelemetryChild> {
  const child = await startChild(t, { stdout });
  child.order({ t: 'say', lines: LINES, aTurn: 100 });
  const { gapMs, rssBytes } = await child.word('said');
  assert.ok(gapMs < MAX_GAP_MS, `the loop stood still for ${gapMs} ms`);
  assert.ok(rssBytes - child.rssBytes < GROWTH_BYTES, `memory grew by ${(rssBytes - child.rssBytes) / MiB} MiB`);
  return child;
}

async function endsAtOnce(child: TelemetryChild): Promise<void> {
  const { ms, code, signal } = await child.terminate();
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
  assert.ok(ms < 1000, `SIGTERM took ${ms} ms`);
}

/** Creates a named pipe, with an end that reads or only holds it open. */
function namedPipe(
  t: Parameters<typeof startChild>[0],
  flags: number,
): { readonly forChild: number; readonly own: number } {
  const path = join(tempDir(t), 'log');
  execFileSync('mkfifo', [path]);
  const own = openSync(path, flags | constants.O_NONBLOCK);
  return { forChild: openSync(path, constants.O_WRONLY), own };
}

/** Rounds whose lines fit into the queue at any reader speed: nothing may be lost. */
const ROUND = 3000;
const ROUNDS = 7;

/** Writes round after round, each when the log contains the previous one. */
async function sayInRounds(child: TelemetryChild, log: () => string): Promise<void> {
  for (let round = 1; round <= ROUNDS; round += 1) {
    child.order({ t: 'say', lines: ROUND, aTurn: 100 });
    await child.word('said');
    const untilMs = performance.now() + 5000;
    while (log().split('\n').length <= round * ROUND && performance.now() < untilMs)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Fails at the first line that is not the next one of its round. */
function assertComplete(log: string): void {
  const lines = log.trimEnd().split('\n');
  for (const [at, line] of lines.entries()) {
    const { msg, req_id } = JSON.parse(line) as { msg: string; req_id?: string };
    assert.equal(Number((req_id ?? msg).split(' ')[1]), at % ROUND, line);
  }
  assert.equal(lines.length, ROUND * ROUNDS);
}

/** Collects what a stream returns. */
function listen(stream: Socket): { text(): string; ended(): Promise<void> } {
  let text = '';
  stream.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  return {
    text: () => text,
    ended: async () => {
      if (!stream.readableEnded) await once(stream, 'end', { signal: AbortSignal.timeout(3000) });
    },
  };
}

test('[A8] does not block on a pipe that nobody reads', async (t) => {
  const { forChild, own } = namedPipe(t, constants.O_RDWR);
  t.after(() => closeSync(own));
  const child = await survives(t, forChild);
  closeSync(forChild);
  await endsAtOnce(child);
});

test('[A8] does not block on a terminal that nobody reads', async (t) => {
  await endsAtOnce(await survives(t, 'deaf-terminal'));
});

test('[A8] does not block on a socket that nobody reads', async (t) => {
  const child = await survives(t, 'pipe');
  assert.ok(child.process.stdout);
  await endsAtOnce(child);
});

test('does not block on a pipe whose reader has closed', async (t) => {
  const { forChild, own } = namedPipe(t, constants.O_RDONLY);
  const child = await startChild(t, { stdout: forChild });
  closeSync(forChild);
  closeSync(own);
  child.order({ t: 'say', lines: LINES, aTurn: 100 });
  assert.ok((await child.word('said')).gapMs < MAX_GAP_MS);
  await endsAtOnce(child);
});

// row E8 · guards src/telemetry/sink.ts
test('does not block on a full disk', async (t) => {
  const full = openSync('/dev/full', 'w');
  const child = await survives(t, full);
  closeSync(full);
  await endsAtOnce(child);
});

test('[A8] writes every line to a file in order', async (t) => {
  const path = join(tempDir(t), 'log');
  const file = openSync(path, 'w');
  const child = await startChild(t, { stdout: file });
  closeSync(file);
  await sayInRounds(child, () => readFileSync(path, 'utf8'));
  await endsAtOnce(child);
  assertComplete(readFileSync(path, 'utf8'));
});

test('writes every line to a pipe with a reader in order', async (t) => {
  const { forChild, own } = namedPipe(t, constants.O_RDONLY);
  const log = listen(new Socket({ fd: own, readable: true, writable: false }));
  const child = await startChild(t, { stdout: forChild });
  closeSync(forChild);
  await sayInRounds(child, log.text);
  await endsAtOnce(child);
  await log.ended();
  assertComplete(log.text());
});

test('a socket with a reader gets every line in order', async (t) => {
  const child = await startChild(t, { stdout: 'pipe' });
  const log = listen(child.process.stdout as Socket);
  await sayInRounds(child, log.text);
  await endsAtOnce(child);
  await log.ended();
  assertComplete(log.text());
});

test('reports to a reader that continues how many lines are missing, at their place', async (t) => {
  const child = await startChild(t, { stdout: 'pipe' });
  child.order({ t: 'say', lines: LINES, aTurn: 100 });
  await child.word('said');
  const log = listen(child.process.stdout as Socket);
  child.order({ t: 'counts' });
  const { counts } = await child.word('counted');
  await endsAtOnce(child);
  await log.ended();
  const lines = log
    .text()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; lines?: number });
  const told = lines.filter(({ event }) => event === 'log-dropped').reduce((sum, one) => sum + (one.lines ?? 0), 0);
  assert.ok(told > 0);
  assert.equal(lines.filter(({ event }) => event !== 'log-dropped').length + told, LINES);
  assert.equal(counts['calls.ok'], LINES / 2);
});

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../../config/limits.ts';
import { StderrBuffer } from './stderr-buffer.ts';

function reading() {
  const frozen = frozenRuntime();
  const shown: string[] = [];
  const lines = new StderrBuffer(frozen.runtime, limitsFrom({}), { said: (line) => shown.push(line), alive: () => {} });
  const stream = new PassThrough();
  lines.drain(stream);
  const write = (text: string) => new Promise<void>((resolve) => stream.write(text, () => setImmediate(resolve)));
  return { write, advance: (ms: number) => frozen.advance(ms), shown, lines, runtime: frozen.runtime };
}

test('logs at most 500 lines of stderr a second and says how many it left out', async () => {
  const child = reading();
  await child.write('a\n'.repeat(30_000));
  assert.equal(child.shown.length, 500);
  child.advance(1000);
  await child.write('b\n');
  assert.deepEqual(child.shown.slice(500), [
    '(output not shown: 29500 lines (more than stderrShownLines, 500/s))',
    'b',
  ]);
});

test('logs at most 64 KiB of stderr a second and says how many bytes it left out', async () => {
  const child = reading();
  await child.write(`${'x'.repeat(1000)}\n`);
  await child.write('y'.repeat(64 * 1024));
  assert.equal(child.shown.length, 1);
  child.advance(1000);
  // The rest of a line whose beginning was left out may be the rest of a secret.
  await child.write('y\nb\n');
  assert.match(child.shown[1] ?? '', /65536 bytes \(more than stderrShownBytes, 65536\/s\)/);
  assert.equal(child.shown[2], 'b');
});

test('masks a configured secret in lines and tail, across chunk borders and where the tail was cut', async () => {
  const child = reading();
  child.runtime.secrets.use(['the-secret-value']);
  for (const piece of ['token=the-sec', 'ret-va', 'lue end\n', 'x\u001b[1mthe-secret\u001b[0m-value\n'])
    await child.write(piece);
  assert.deepEqual(child.shown.slice(0, 1), ['token=*** end']);
  assert.deepEqual(child.lines.lines().slice(0, 1), ['token=*** end']);
  for (let at = 0; at < 20; at += 1) {
    await child.write(`${'y'.repeat(1000 + at)} the-secret-value\n`);
    const tail = child.lines.lines().join('\n');
    assert.equal(tail.includes('value'), false, tail.slice(0, 100));
  }
});

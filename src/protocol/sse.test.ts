import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SseDecoder, type SseEvent } from './sse.ts';

test('long fields are not decoded: an unknown one is skipped, names and ids are cut', () => {
  const events: SseEvent[] = [];
  const decoder = new SseDecoder(1_000_000, (event) => events.push(event));
  const long = 'x'.repeat(100_000);
  decoder.push(
    Buffer.from(`${long}\n${long}: 1\nevent: ${long}\nid: ${long}\nretry: ${'1'.repeat(100_000)}\ndata: 7\n\n`),
  );
  const [event] = events;
  assert.deepEqual([event?.event.length, event?.id?.length, event?.retryMs], [256, 32_768, undefined]);
  assert.equal(event?.data.toString(), '7');
});

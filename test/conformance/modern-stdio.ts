/**
 * The everything server of the stateless era over stdio: a message a line.
 * Promises: a request that is cancelled by a notification is not answered.
 * Does not: know what is served (`modern-answers.ts`).
 */
import { createInterface } from 'node:readline';
import type { World } from './everything-world.ts';
import { answerModern } from './modern-answers.ts';
import { type ModernMessage, readModernClaim } from './modern-claim.ts';
import { frameOf, saidTo } from './modern-http.ts';

/** Until stdin ends. */
export function serveModernStdio(world: World): void {
  // bounded by: the requests in flight
  const open = new Map<unknown, AbortController>();
  const say = (message: object): void =>
    void process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const message = JSON.parse(line) as ModernMessage;
    if (message.method === 'notifications/cancelled') open.get(message.params?.requestId)?.abort();
    if (message.id === undefined) return;
    const cancelled = new AbortController();
    open.set(message.id, cancelled);
    const { signal } = cancelled;
    const said = await saidTo(async () =>
      answerModern(world, { message, claim: readModernClaim(message), signal, notify: say }),
    );
    open.delete(message.id);
    if (!signal.aborted) say(frameOf(message, said));
  });
}

/**
 * Checks the pipeline of one server under random orders: the clock is frozen, the server is simulated, and a failure
 * prints the seed.
 * covers: A4, P2, P16, P17
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FleetRig, type Running } from '../../test/support/fleet-rig.ts';
import { scriptedSpec, settle } from '../../test/support/scripted-transport.ts';
import { HubError } from '../model/errors.ts';
import { isRefusal } from '../model/outcome.ts';

const REMOTE = scriptedSpec({
  homeHub: 0,
  inFlight: 3,
  transport: { kind: 'http', url: 'http://127.0.0.1:1/mcp', headers: {}, launch: undefined },
});

/** What may happen next; the number selects the target, or the duration. */
const STEP = fc.tuple(
  fc.constantFrom(
    ...(['call', 'call', 'call', 'answer', 'answer', 'fail', 'fail', 'unauthorized', 'client-leaves'] as const),
    ...(['pass', 'pass', 'pings-stop', 'pings-work', 'connection-lost', 'retry', 'late-answer'] as const),
  ),
  fc.nat(6000),
);

// row A16 · guards src/resilience/breaker.ts, src/upstream/pipeline.ts
test('for every order of calls, answers, failures, 401s, cancels, silence, lost connections and retries: no call is lost, none is run twice, and a server that is well serves within 65 s', {
  timeout: 170_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(STEP, { minLength: 5, maxLength: 60 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      async (steps, chance) => {
        const rig = await FleetRig.ready({
          specs: [REMOTE],
          random: () => chance,
          limits: { serverQueue: 4, totalMs: 30_000 },
        });
        const running: Running[] = [];
        const answered = new Set<number>();
        const open = (): number[] =>
          rig.life
            .of('tools/call')
            .flatMap(({ id }) => (id === undefined || answered.has(id) || rig.life.aborted.includes(id) ? [] : [id]));
        for (const [what, size] of steps) {
          const ids = open();
          const id = ids[size % Math.max(1, ids.length)];
          if (what === 'call') running.push(rig.call({ fairKey: `k${size % 3}` }));
          else if (what === 'pass') await rig.pass(size);
          else if (what === 'pings-stop' || what === 'pings-work') rig.script.pongs = what === 'pings-work';
          else if (what === 'retry') rig.registry.restart('scripted');
          else if (what === 'connection-lost') rig.life.events.closed(new HubError('upstream-gone'));
          else if (what === 'client-leaves') running[size % Math.max(1, running.length)]?.deadline.end('client-gone');
          else if (what === 'late-answer') for (const late of answered) rig.life.reply(late, {});
          else if (id !== undefined) {
            answered.add(id);
            if (what === 'answer') rig.life.reply(id, {});
            else
              rig.life.events.failed(
                id,
                new HubError(what === 'fail' ? 'upstream-gone' : 'upstream-http', { detail: { status: 502 } }),
              );
          }
          await settle(1);
          const status = rig.registry.status('scripted');
          assert.ok((status?.inFlight ?? 0) <= 3 && (status?.queued ?? 0) <= 4, JSON.stringify(status));
        }
        // The id of a call was never sent twice: double execution would be visible here.
        for (const life of rig.lives) {
          const sent = life.of('tools/call').map(({ id }) => id);
          assert.equal(new Set(sent).size, sent.length);
        }
        // From here on the server is healthy.
        rig.script.pongs = true;
        const wellMs = rig.nowMs;
        let served = false;
        while (!served && rig.nowMs - wellMs <= 65_000) {
          const call = rig.call({ fairKey: 'afterwards' });
          await settle(1);
          for (const id of open()) {
            answered.add(id);
            rig.life.reply(id, {});
          }
          await settle(1);
          served = call.outcome !== undefined && !isRefusal(call.outcome);
          if (!served) await rig.pass(500);
        }
        assert.ok(served, `not served ${rig.nowMs - wellMs} ms after it is well: ${rig.state()}`);
        // Every call has ended when its total time is over.
        await rig.pass(rig.limits.totalMs + 1000);
        assert.deepEqual(running.filter(({ outcome }) => outcome === undefined).length, 0, 'a call without an end');
        await rig.close();
      },
    ),
    { numRuns: Number(process.env.MCPHUB_TIER === 'long' ? 2000 : 100) },
  );
});

/**
 * The opening that the session connections of a server try first: the newer one if it may succeed, and not again after
 * it failed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../../test/support/frozen-runtime.ts';
import { scriptedSpec } from '../../../test/support/scripted-transport.ts';
import { VERSION_2026 } from '../../protocol/era-2026/versions.ts';
import { SessionConnectionOpenings } from './session-connection-opening.ts';

const REMOTE = scriptedSpec({
  transport: { kind: 'http', url: 'http://127.0.0.1/mcp', headers: {}, launch: undefined },
});
const [STATELESS, SESSION] = [{ isStateless: true }, {}];
const OLD = '2025-11-25';
const known = () => OLD;

test('a lane of a stateless client hopes once; a refusal is remembered for a day, and so is what came of nothing', () => {
  const frozen = frozenRuntime();
  const openings = new SessionConnectionOpenings(frozen.runtime.clock, REMOTE);
  const first = openings.of(STATELESS, known);
  assert.deepEqual([first.before(), first.before()], [VERSION_2026, OLD], 'what came to nothing is not tried again');
  first.met(OLD);
  assert.equal(openings.of(STATELESS, known).before(), OLD);
  frozen.advance(24 * 60 * 60 * 1000);
  assert.equal(openings.of(STATELESS, known).before(), VERSION_2026);
});

test('where it was answered every such lane tries it; lanes of sessions and children never do', () => {
  const { clock } = frozenRuntime().runtime;
  const openings = new SessionConnectionOpenings(clock, REMOTE);
  const first = openings.of(STATELESS, known);
  first.before();
  first.met(VERSION_2026);
  openings.of(SESSION, known).met(OLD);
  assert.equal(openings.of(STATELESS, known).before(), VERSION_2026);
  assert.equal(openings.of(SESSION, known).before(), OLD);
  assert.equal(new SessionConnectionOpenings(clock, scriptedSpec({})).of(STATELESS, known).before(), OLD);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frozenRuntime } from '../../test/support/frozen-runtime.ts';
import { limitsFrom } from '../config/limits.ts';
import { isRefusal } from '../model/outcome.ts';
import type { Session } from '../session/sessions.ts';
import { createQuestions } from './questions.ts';

test('a key whose users leave their questions open is refused more, and another key’s user is asked', async () => {
  const { runtime } = frozenRuntime();
  const limits = limitsFrom({ questions: 8, questionsPerKey: 5 });
  const questions = createQuestions({ runtime, limits, slot: 1 });
  const deadline = runtime.deadline(1000);
  const ask = (owner: string) => {
    const session = { random: owner, owner } as Session;
    return questions.ask({
      method: 'elicitation/create',
      params: undefined,
      deadline,
      owner,
      session,
      send: () => true,
    });
  };
  const open = Array.from({ length: 5 }, () => ask('A'));
  const refused = await ask('A');
  assert.ok(isRefusal(refused) && refused.detail.setting === 'questionsPerKey');
  open.push(ask('B'));
  assert.equal(runtime.ceilings.table().find(({ name }) => name === 'call.questions')?.size, 6);
  deadline.end('cancelled');
  for (const outcome of await Promise.all(open)) assert.ok(isRefusal(outcome) && outcome.code === 'client-silent');
  assert.equal(runtime.ceilings.table().find(({ name }) => name === 'call.questions')?.size, 0);
});

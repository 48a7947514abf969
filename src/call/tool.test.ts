// covers: B21, B25, P18
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PipelineRig, shown } from '../../test/support/pipeline-rig.ts';
import type { Outcome } from '../model/outcome.ts';
import type { UpstreamReply } from '../upstream/call.ts';
import type { Reply } from './call.ts';

/** The registry holds the call until the test releases it, and ends it with its deadline. */
function hold(rig: PipelineRig): void {
  rig.reply = (_server, call) =>
    new Promise<Outcome<UpstreamReply>>((done) => {
      call.budget.deadline.onEnd((reason) =>
        done({ kind: 'result', json: Buffer.from(JSON.stringify({ ended: reason })) }),
      );
    });
}

function lastAsked(rig: PipelineRig) {
  const asked = rig.asked.at(-1);
  assert.ok(asked, 'the fleet was asked');
  return asked;
}

test('the name decides the server, becomes the server’s own, and every other byte of the params stays', async () => {
  const rig = new PipelineRig();
  const text =
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ "arguments":{"n":1.50, "ü":"\\u00fc"},"name" : "git_log" }}';
  await rig.pipeline.answer(rig.incoming(text));
  const { server, call } = lastAsked(rig);
  assert.equal(server, 'git');
  assert.equal(call.params(7).toString(), '{ "arguments":{"n":1.50, "ü":"\\u00fc"},"name" : "log" }');
});

test('a mangled spelling of the name reaches the same tool', async () => {
  const rig = new PipelineRig();
  for (const name of ['git.log', 'git-log', 'git__log']) {
    await rig.ask('tools/call', { name });
    assert.deepEqual(JSON.parse(lastAsked(rig).call.params(0).toString()), { name: 'log' });
  }
  assert.equal(rig.asked.length, 3);
});

test('no params, no name, a name of another kind and an unknown name are refused, and no server is asked', async () => {
  const rig = new PipelineRig();
  assert.equal(shown(await rig.ask('tools/call')), 'invalid-params');
  assert.equal(shown(await rig.ask('tools/call', {})), 'invalid-params');
  assert.equal(shown(await rig.ask('tools/call', { name: 5 })), 'invalid-params');
  assert.equal(shown(await rig.ask('tools/call', { name: 'git_push' })), 'unknown-tool');
  assert.equal(rig.asked.length, 0);
  assert.equal(rig.frozen.runtime.wheel.size, 0, 'no deadline is left');
});

test('a tool outside the group is unknown there', async () => {
  const rig = new PipelineRig();
  const visitor = rig.context({ target: { kind: 'group', slug: 'dev' } });
  assert.equal(shown(await rig.ask('tools/call', { name: 'files_read' }, visitor)), 'unknown-tool');
  await rig.ask('tools/call', { name: 'git_log' }, visitor);
  assert.equal(rig.asked.length, 1);
});

test('a progress token is given to the server as the hub’s own, and the back channel keeps the client’s', async () => {
  const rig = new PipelineRig();
  for (const token of ['0', '-1', '"a \\"b"', '9007199254740993']) {
    const params = `{"name":"git_log","_meta":{"progressToken":${token}}}`;
    await rig.pipeline.answer(rig.incoming(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`));
    const { call } = lastAsked(rig);
    assert.equal(call.back.progressToken, token);
    assert.equal(call.params(42).toString(), '{"name":"log","_meta":{"progressToken":42}}');
  }
  await rig.ask('tools/call', { name: 'git_log' });
  assert.equal(lastAsked(rig).call.back.progressToken, undefined);
});

test('a cancel ends the call of its own session with exactly that id, and nobody else’s', async () => {
  const rig = new PipelineRig();
  hold(rig);
  const [one, two] = [await rig.open('a'), await rig.open('b')];
  const start = (key: string, sessionId: string, id: string): Promise<Outcome<Reply>> => {
    const text = `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"git_log"}}`;
    return Promise.resolve(rig.pipeline.answer(rig.incoming(text, { visitor: rig.context({ key, sessionId }) })));
  };
  const cancel = async (key: string, sessionId: string | undefined, id: string): Promise<void> => {
    const text = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id}}}`;
    assert.equal(
      shown(await rig.pipeline.answer(rig.incoming(text, { visitor: rig.context({ key, sessionId }) }))),
      'accepted',
    );
  };
  const [mine, mineText, others] = [start('a', one.id, '1'), start('a', one.id, '"1"'), start('b', two.id, '1')];
  const ended = () => rig.asked.map(({ call }) => call.budget.deadline.ended);
  await cancel('a', undefined, '1');
  await cancel('a', one.id, '2');
  assert.deepEqual(ended(), [undefined, undefined, undefined]);
  await cancel('a', one.id, '1');
  assert.deepEqual(ended(), ['cancelled', undefined, undefined]);
  assert.equal(shown(await mine), 'cancelled');
  await cancel('a', one.id, '"1"');
  await cancel('b', two.id, '1');
  assert.deepEqual([shown(await mineText), shown(await others)], ['cancelled', 'cancelled']);
  assert.equal(rig.frozen.runtime.ceilings.table().find(({ name }) => name === 'call.in-flight')?.size, 0);
});

test('without a session a client that goes away ends its call; with one the call goes on', async () => {
  const rig = new PipelineRig();
  hold(rig);
  let gone: () => void = () => {};
  const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'git_log' } };
  const onGone = (listener: () => void): void => {
    gone = listener;
  };
  const bare = rig.pipeline.answer(rig.incoming(message, { onGone }));
  gone();
  assert.equal(shown(await bare), 'client-gone');
  assert.equal(lastAsked(rig).call.budget.deadline.ended, 'client-gone');

  const { id: sessionId } = await rig.open();
  gone = () => {};
  void rig.pipeline.answer(rig.incoming(message, { onGone, visitor: rig.context({ sessionId }) }));
  gone();
  assert.equal(lastAsked(rig).call.budget.deadline.ended, undefined);
});

test('a call ends at its total at the latest', async () => {
  const rig = new PipelineRig({ limits: { totalMs: 3000 } });
  hold(rig);
  const running = rig.ask('tools/call', { name: 'git_log' });
  rig.frozen.advance(3100);
  assert.deepEqual(shown(await running), { ended: 'time-up' });
});

// case: SV44
test('a tool whose output schema was dropped sends no structured content that is no object, and objects as they are', async () => {
  const snapshot = new PipelineRig().snapshots.current;
  const [git, files] = snapshot.listings;
  assert.ok(git && files);
  const odd = { ...git, tools: git.tools.map((tool) => ({ ...tool, dropStructured: true })) };
  const rig = new PipelineRig({ snapshot: { listings: [odd, files] } });
  const answers = (json: string) => {
    rig.reply = () => ({ kind: 'result', json: Buffer.from(json) });
  };
  answers('{"content":[],"structuredContent":{"n":1}}');
  assert.deepEqual(shown(await rig.ask('tools/call', { name: 'git_log' })).structuredContent, { n: 1 });
  answers('{"content":[],"structuredContent":[1,2]}');
  assert.equal('structuredContent' in shown(await rig.ask('tools/call', { name: 'git_log' })), false);
  answers('{"structuredContent":{},"content":[],"structuredContent":[1,2]}');
  assert.deepEqual(shown(await rig.ask('tools/call', { name: 'git_log' })), { content: [] }, 'twice');
  assert.deepEqual(shown(await rig.ask('tools/call', { name: 'files_read' })).structuredContent, [1, 2]);
});

/**
 * prompts/get, resources/read and completion/complete through the pipeline: which server gets which bytes, and what
 * returns.
 */
// covers: B21, B25
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PipelineRig, richRig, shown } from '../../test/support/pipeline-rig.ts';
import { isRefusal } from '../model/outcome.ts';

function lastAsked(rig: PipelineRig) {
  const asked = rig.asked.at(-1);
  assert.ok(asked, 'the fleet was asked');
  return { server: asked.server, method: asked.call.method, params: asked.call.params(7).toString() };
}

function send(rig: PipelineRig, method: string, params: string) {
  return Promise.resolve(
    rig.pipeline.answer(rig.incoming(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`)),
  );
}

function answers(rig: PipelineRig, json: string, kind: 'result' | 'error' = 'result'): void {
  rig.reply = () => ({ kind, json: Buffer.from(json) });
}

test('a prompt’s name becomes the server’s own, and every other byte stays, there and back', async () => {
  const rig = richRig();
  const result = '{ "messages":[], "n":1.50}';
  answers(rig, result);
  const reply = await send(
    rig,
    'prompts/get',
    '{ "arguments":{"n":"\\u00fc"},"name" : "git_review","_meta":{"progressToken":"x"}}',
  );
  assert.deepEqual(lastAsked(rig), {
    server: 'git',
    method: 'prompts/get',
    params: '{ "arguments":{"n":"\\u00fc"},"name" : "review","_meta":{"progressToken":7}}',
  });
  assert.ok(!isRefusal(reply) && reply.kind === 'result');
  assert.equal(reply.json.toString(), result);
  await rig.ask('prompts/get', { name: 'git.review' });
  await rig.ask('prompts/get', { name: 'review' });
  assert.equal(rig.asked.length, 3);
});

test('an unknown prompt, and one outside of the group, is refused, and nobody is asked', async () => {
  const rig = richRig();
  const reply = await rig.ask('prompts/get', { name: 'git_log' });
  assert.equal(shown(reply), 'unknown-prompt');
  assert.equal(shown(await rig.ask('prompts/get', {})), 'invalid-params');
  assert.equal(shown(await rig.ask('prompts/get')), 'invalid-params');
  const visitor = rig.context({ target: { kind: 'server', slug: 'files' } });
  assert.equal(shown(await rig.ask('prompts/get', { name: 'git_review' }, visitor)), 'unknown-prompt');
  assert.equal(rig.asked.length, 0);
});

test('a server’s own error passes untouched', async () => {
  const rig = richRig();
  answers(rig, '{"code":-32002, "message":"no such thing"}', 'error');
  const reply = await rig.ask('resources/read', { uri: 'git://head' });
  assert.ok(!isRefusal(reply) && reply.kind === 'error');
  assert.equal(reply.json.toString(), '{"code":-32002, "message":"no such thing"}');
});

test('a resource is read under its own URI as the bytes it is', async () => {
  const rig = richRig();
  const result = '{"contents":[{"uri":"git://head", "text":"x"}]}';
  answers(rig, result);
  const reply = await send(rig, 'resources/read', '{"uri" : "git:\\/\\/head"}');
  assert.deepEqual(lastAsked(rig), { server: 'git', method: 'resources/read', params: '{"uri" : "git:\\/\\/head"}' });
  assert.ok(!isRefusal(reply) && reply.kind === 'result');
  assert.equal(reply.json.toString(), result);
  await rig.ask('resources/read', { uri: 'git://1a2b' });
  assert.equal(lastAsked(rig).server, 'git', 'by its template');
});

test('a resource that has another URI here has it in its contents too, and what comes with it leads to the same server', async () => {
  const rig = richRig();
  answers(rig, '{"contents":[{"uri":"git://head" ,"text":"git://head"},{"text":"","uri":"git://part"},5],"n":1.50}');
  const uri = 'mcphub://files/git%3A%2F%2Fhead';
  const reply = await rig.ask('resources/read', { uri });
  assert.deepEqual(lastAsked(rig), { server: 'files', method: 'resources/read', params: '{"uri":"git://head"}' });
  assert.ok(!isRefusal(reply) && reply.kind === 'result');
  assert.equal(
    reply.json.toString(),
    `{"contents":[{"uri":"${uri}" ,"text":"git://head"},{"text":"","uri":"mcphub://files/git%3A%2F%2Fpart"},5],"n":1.50}`,
  );
});

test('a URI that fits nothing is not found, by name, and nobody is asked', async () => {
  const rig = richRig();
  const reply = await rig.ask('resources/read', { uri: 'nowhere://x' });
  assert.ok(isRefusal(reply) && reply.code === 'resource-not-found');
  assert.equal(reply.detail.uri, 'nowhere://x');
  assert.equal(shown(await rig.ask('resources/read', { uri: 5 })), 'invalid-params');
  assert.equal(shown(await rig.ask('resources/read', { name: 'git://head' })), 'invalid-params');
  assert.equal(rig.asked.length, 0);
});

test('a completion goes to the server of its prompt or template, under that server’s name for it', async () => {
  const rig = richRig();
  answers(rig, '{"completion":{"values":["main"]}}');
  const rest = '"argument":{"name":"branch","value":"m"}';
  await send(rig, 'completion/complete', `{${rest},"ref":{"name":"git_review","type":"ref/prompt"}}`);
  assert.deepEqual(lastAsked(rig).params, `{${rest},"ref":{"name":"review","type":"ref/prompt"}}`);
  const ref = '"ref":{"type":"ref/resource","uri":"git://{commit}"}';
  const reply = await send(rig, 'completion/complete', `{${ref},${rest}}`);
  assert.deepEqual(lastAsked(rig), { server: 'git', method: 'completion/complete', params: `{${ref},${rest}}` });
  assert.deepEqual(shown(reply), { completion: { values: ['main'] } });
});

test('a server that does not complete is not asked; what nobody has is refused', async () => {
  const rig = richRig();
  const complete = (ref: unknown) => rig.ask('completion/complete', { ref, argument: { name: 'a', value: '' } });
  const empty = { completion: { values: [], hasMore: false } };
  assert.deepEqual(shown(await complete({ type: 'ref/resource', uri: 'files://x' })), empty);
  assert.equal(shown(await complete({ type: 'ref/prompt', name: 'nobody_has' })), 'unknown-prompt');
  assert.equal(shown(await complete({ type: 'ref/resource', uri: 'nowhere://x' })), 'resource-not-found');
  for (const ref of [
    undefined,
    'x',
    {},
    { type: 'ref/tool', name: 'git_log' },
    { type: 'ref/prompt', uri: 'git://head' },
  ])
    assert.equal(shown(await complete(ref)), 'invalid-params', JSON.stringify(ref));
  assert.equal(rig.asked.length, 0);
});

test('a doubled or look-alike member is refused, so that no server sees another name than the hub', async () => {
  const rig = richRig();
  for (const [method, params] of [
    ['resources/read', '{"uri":"git://head","uri":"files://x"}'],
    ['resources/read', '{"uri":"git://head","URI":"files://x"}'],
    ['completion/complete', '{"ref":{"type":"ref/prompt","name":"git_review","Name":"x"}}'],
    ['completion/complete', '{"ref":{"type":"ref/prompt","name":"git_review"},"Ref":{}}'],
  ] as const)
    assert.equal(shown(await send(rig, method, params)), 'invalid-params', params);
  assert.equal(rig.asked.length, 0);
});

test('a cancel ends them as it ends a tool call', async () => {
  const rig = richRig();
  const { id: sessionId } = await rig.open();
  const visitor = rig.context({ sessionId });
  for (const [method, params] of [
    ['prompts/get', { name: 'git_review' }],
    ['resources/read', { uri: 'git://head' }],
    ['completion/complete', { ref: { type: 'ref/prompt', name: 'git_review' }, argument: { name: 'a', value: '' } }],
  ] as const) {
    rig.reply = () => new Promise(() => {});
    void rig.pipeline.answer(rig.incoming({ jsonrpc: '2.0', id: 9, method, params }, { visitor }));
    const notice = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } };
    await rig.pipeline.answer(rig.incoming(notice, { visitor }));
    assert.equal(rig.asked.at(-1)?.call.budget.deadline.ended, 'cancelled', method);
  }
});

/**
 * The walk through everything that server-everything can do, by one client of one SDK through the hub, once per
 * transport of the server. `everything-v1.test.ts` and `everything-v2.test.ts` walk it; their hubs are their own.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { everythingConfig, type HttpServer, startEverythingHttp } from './everything.ts';
import { type RunningHub, startHub, until } from './hub.ts';
import { rpc } from './mcp.ts';
import { type Connect, type Loose, textOf, type User } from './users.ts';

const TOOLS = [
  ...['echo', 'get_annotated_message', 'get_env', 'get_resource_links', 'get_resource_reference', 'get_roots_list'],
  ...['get_structured_content', 'get_sum', 'get_tiny_image', 'gzip_file_as_resource', 'simulate_research_query'],
  ...['toggle_simulated_logging', 'toggle_subscriber_updates', 'trigger_elicitation_request'],
  ...['trigger_long_running_operation', 'trigger_sampling_request', 'trigger_url_elicitation'],
];
/** What the server sends every 5 s has come by then, also on a loaded machine. */
const SOON_MS = 20_000;

export function walkEverything(sdk: string, connect: Connect, args: readonly string[] = []): void {
  let hub: RunningHub;
  let http: HttpServer;

  before(async () => {
    http = await startEverythingHttp();
    hub = await startHub({ config: everythingConfig(http.url), args });
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await http?.[Symbol.asyncDispose]();
  });

  for (const server of ['everything', 'remote'])
    describe(`${sdk}, server-everything over ${server === 'remote' ? 'Streamable HTTP' : 'stdio'}`, () => {
      let user: User;
      const at = () => ({ url: `${hub.url}/mcp/${server}`, key: hub.key });
      const named = (native: string) => `${server}_${native}`;
      const call = (native: string, args?: object) => user.can.call(named(native), args);
      const text = async (native: string, args?: object) => textOf(await call(native, args));

      before(async () => {
        const listed = async () => (await rpc(at().url, 'tools/list', {}, { key: hub.key })).json.result?.tools ?? [];
        await until(async () => (await listed()).length === TOOLS.length, 30_000, `the tools of ${server}`);
        user = await connect(at());
      });
      after(async () => {
        await user?.[Symbol.asyncDispose]();
      });

      walkTools({ user: () => user, call, text, named });
      walkContents({ user: () => user, call, named });
      walkQuestions({ user: () => user, call, text, named });
      walkNotices({ user: () => user, call, text });

      test('who cannot be asked is told so: a caller without a session, a client that declares nothing', async () => {
        const params = { name: named('trigger_elicitation_request'), arguments: {} };
        const { json } = await rpc(at().url, 'tools/call', params, { key: hub.key });
        assert.equal(json.result.isError, true);
        assert.match(textOf(json.result), /cannot receive requests/);
        await using mute = await connect({ ...at(), capabilities: {} });
        assert.equal((await mute.can.listTools()).tools.length, TOOLS.length);
        // A connection of its own, which declares nothing either: the server has no such tool there.
        const answer = await mute.can.call(params.name).catch((fault: Error) => fault);
        assert.match(JSON.stringify(answer) + String(answer), /not found/);
      });

      test('[B21] a cancelled call ends in the hub and at the server within 1 s, and the next one is answered', async () => {
        const abort = new AbortController();
        const sizes = () => Promise.all([ceiling('call.in-flight'), ceiling('upstream.in-flight')]);
        const args = { duration: 60, steps: 600 };
        const options = { signal: abort.signal, onprogress: () => abort.abort('enough') };
        await assert.rejects(user.can.call(named('trigger_long_running_operation'), args, options));
        const tookMs = await until(async () => (await sizes()).every((size) => size === 0), 5000, 'nothing in flight');
        assert.ok(tookMs < 2020, `${tookMs} ms`);
        assert.equal(await text('echo', { message: 'after' }), 'Echo: after');
      });
    });

  async function ceiling(name: string): Promise<number> {
    const answer = await fetch(`${hub.url}/api/ceilings`, { headers: { Authorization: `Bearer ${hub.key}` } });
    const { ceilings } = (await answer.json()) as { ceilings: { name: string; size: number }[] };
    return ceilings.filter((row) => row.name === name).reduce((sum, { size }) => sum + size, 0);
  }
}

interface Walk {
  readonly user: () => User;
  readonly call: (native: string, args?: object) => Promise<Loose>;
  readonly text: (native: string, args?: object) => Promise<string>;
  readonly named: (native: string) => string;
}

function walkTools({ user, call, text, named }: Walk): void {
  test('[A2] all tools are listed, also those that the server shows only to clients that can be asked', async () => {
    const { tools } = await user().can.listTools();
    assert.deepEqual(tools.map(({ name }: { name: string }) => name).sort(), TOOLS.map(named).sort());
  });

  test('[A2] plain tools answer', async () => {
    assert.equal(await text('echo', { message: '안녕' }), 'Echo: 안녕');
    assert.match(await text('get_sum', { a: 2, b: 40 }), /42/);
    assert.match(await text('get_env'), /"PATH"/);
    const image = await call('get_tiny_image');
    const { data, mimeType } = image.content.find(({ type }: { type: string }) => type === 'image');
    assert.equal(mimeType, 'image/png');
    assert.equal(Buffer.from(data, 'base64').subarray(1, 4).toString(), 'PNG');
  });

  test('[A2] annotations, structured content and resource links come as they are', async () => {
    const said = await call('get_annotated_message', { messageType: 'error', includeImage: true });
    assert.deepEqual(said.content[0].annotations, { priority: 1, audience: ['user', 'assistant'] });
    await user().can.listTools();
    const weather = await call('get_structured_content', { location: 'New York' });
    assert.deepEqual(weather.structuredContent, { temperature: 33, conditions: 'Cloudy', humidity: 82 });
    const links = await call('get_resource_links', { count: 4 });
    const uris = links.content.flatMap((block: Loose) => (block.type === 'resource_link' ? [block.uri] : []));
    assert.equal(uris.length, 4);
    for (const uri of uris) assert.equal((await user().can.readResource({ uri })).contents[0].uri, uri);
    const whole = await call('get_resource_reference', { resourceType: 'Blob', resourceId: 3 });
    assert.equal(whole.content[1].resource.uri, 'demo://resource/dynamic/blob/3');
  });

  test('[A2] a file that a tool makes is a resource of this session afterwards', async () => {
    const args = { name: `${named('x')}.gz`, data: 'data:text/plain,zipped', outputType: 'resourceLink' };
    const [link] = (await call('gzip_file_as_resource', args)).content;
    assert.equal(link.type, 'resource_link');
    const [read] = (await user().can.readResource({ uri: link.uri })).contents;
    assert.equal(gunzipSync(Buffer.from(read.blob, 'base64')).toString(), 'zipped');
  });

  test('[B25] progress comes in order, each step once, and stops at the result', async () => {
    const seen: number[] = [];
    const onprogress = ({ progress }: { progress: number }) => void seen.push(progress);
    const args = { duration: 0.8, steps: 4 };
    const done = await user().can.call(named('trigger_long_running_operation'), args, { onprogress });
    assert.match(textOf(done), /completed/);
    assert.deepEqual(seen, [1, 2, 3, 4]);
    await user().can.ping();
    assert.equal(seen.length, 4);
  });

  test('[A2] a tool that works as a task only says so', async () => {
    const answer = await call('simulate_research_query', { topic: 'hubs' }).catch((fault: Error) => fault);
    assert.match(JSON.stringify(answer) + String(answer), /task/);
  });
}

function walkContents({ user, call, named }: Omit<Walk, 'text'>): void {
  test('[A2] prompts and completions', async () => {
    const { can } = user();
    const { prompts } = await can.listPrompts();
    const names = ['simple_prompt', 'args_prompt', 'completable_prompt', 'resource_prompt'].map(named);
    assert.deepEqual(prompts.map(({ name }: { name: string }) => name).sort(), names.sort());
    const said = async (native: string, args: Record<string, string>) =>
      (await can.getPrompt({ name: named(native), arguments: args })).messages.at(-1).content;
    assert.match((await said('simple_prompt', {})).text, /simple prompt/);
    assert.equal((await said('args_prompt', { city: 'Seoul' })).text, "What's weather in Seoul?");
    assert.match((await said('completable_prompt', { department: 'Sales', name: 'Eve' })).text, /Eve.*Sales/);
    const embedded = await said('resource_prompt', { resourceType: 'Text', resourceId: '7' });
    assert.equal(embedded.resource.uri, 'demo://resource/dynamic/text/7');
    const ref = { type: 'ref/prompt', name: named('completable_prompt') };
    const argument = { name: 'name', value: 'E' };
    const context = { arguments: { department: 'Sales' } };
    assert.deepEqual((await can.complete({ ref, argument, context })).completion.values, ['Eve']);
    const uri = 'demo://resource/dynamic/text/{resourceId}';
    const template = await can.complete({
      ref: { type: 'ref/resource', uri },
      argument: { name: 'resourceId', value: '5' },
    });
    assert.deepEqual(template.completion.values, ['5']);
  });

  test('[A2] resources and templates', async () => {
    const { can } = user();
    const { resources } = await can.listResources();
    const documents = resources.filter(({ uri }: { uri: string }) =>
      uri.startsWith('demo://resource/static/document/'),
    );
    assert.equal(documents.length, 7);
    for (const { uri } of documents) assert.ok((await can.readResource({ uri })).contents[0].text.length > 0, uri);
    const { resourceTemplates } = await can.listResourceTemplates();
    assert.equal(resourceTemplates.length, 2);
    const [made] = (await can.readResource({ uri: 'demo://resource/dynamic/text/9' })).contents;
    assert.match(made.text, /^Resource 9:/);
    await assert.rejects(can.readResource({ uri: 'demo://resource/dynamic/text/none' }));
    assert.equal((await call('echo', { message: 'on' })).isError ?? false, false);
  });
}

function walkQuestions({ user, call, text }: Walk): void {
  test('[A2] sampling: the model of the client answers', async () => {
    const { mind } = user();
    mind.sample = ({ maxTokens }) => ({
      role: 'assistant',
      content: { type: 'text', text: `sampled within ${maxTokens}` },
      model: 'test-model',
    });
    const said = await text('trigger_sampling_request', { prompt: 'a poem', maxTokens: 33 });
    assert.match(said, /sampled within 33/);
    assert.match(mind.samplings.at(-1).messages[0].content.text, /a poem/);
  });

  test('[A2] elicitation by form: accepted, declined and cancelled', async () => {
    const { mind } = user();
    mind.elicit = () => ({ action: 'accept', content: { name: 'Ada', integer: 7 } });
    const accepted = await text('trigger_elicitation_request');
    assert.match(accepted, /- Name: Ada/);
    assert.match(accepted, /- Favorite Integer: 7/);
    assert.ok(mind.elicitations.at(-1).requestedSchema.properties.birthdate);
    mind.elicit = () => ({ action: 'decline' });
    assert.match(await text('trigger_elicitation_request'), /declined/);
    mind.elicit = () => ({ action: 'cancel' });
    assert.match(await text('trigger_elicitation_request'), /cancelled/);
  });

  test('[A2] elicitation by address: asked for, and as the error −32042', async () => {
    const { mind } = user();
    mind.elicit = () => ({ action: 'accept' });
    const url = 'https://example.com/consent';
    const done = await text('trigger_url_elicitation', { url, elicitationId: 'one' });
    assert.match(done, /Elicitation ID: one/);
    const { mode, url: shown } = mind.elicitations.at(-1);
    assert.deepEqual([mode, shown], ['url', url]);
    await assert.rejects(call('trigger_url_elicitation', { url, errorPath: true }), { code: -32042 });
  });

  test('[A2] roots: those of this client, and the new ones after it has said that they changed', async () => {
    const { mind, can } = user();
    assert.match(await text('get_roots_list'), /no roots are currently configured/);
    mind.roots = [{ uri: 'file:///home/ada/one', name: 'one' }];
    const before = mind.rootsAsked;
    await can.sendRootsListChanged();
    await until(() => mind.rootsAsked > before, SOON_MS, 'the server asks again');
    await until(async () => /file:\/\/\/home\/ada\/one/.test(await text('get_roots_list')), SOON_MS, 'the new root');
  });
}

function walkNotices({ user, call, text }: Omit<Walk, 'named'>): void {
  test('[B20] log lines of the server: from the level that this session has set', async () => {
    const { mind, can } = user();
    await can.setLoggingLevel('debug');
    mind.logs.length = 0;
    assert.match(await text('toggle_simulated_logging'), /Started/);
    await until(() => mind.logs.length > 0, SOON_MS, 'a log line');
    assert.match(String(mind.logs[0].data), /message/);
    assert.match(await text('toggle_simulated_logging'), /Stopped/);
    await can.setLoggingLevel('emergency');
    await call('echo', { message: 'between' });
    mind.logs.length = 0;
    // It says so at info.
    await can.subscribeResource({ uri: 'demo://resource/dynamic/text/77' });
    await can.unsubscribeResource({ uri: 'demo://resource/dynamic/text/77' });
    await can.setLoggingLevel('debug');
    await can.subscribeResource({ uri: 'demo://resource/dynamic/text/78' });
    await until(() => mind.logs.length > 0, SOON_MS, 'the line about the second subscription');
    assert.match(String(mind.logs[0].data), /text\/78/);
    await can.unsubscribeResource({ uri: 'demo://resource/dynamic/text/78' });
  });

  test('[A2] updates of a resource come while it is subscribed to', async () => {
    const { mind, can } = user();
    const uri = 'demo://resource/dynamic/text/1';
    await can.subscribeResource({ uri });
    mind.updates.length = 0;
    assert.match(await text('toggle_subscriber_updates'), /Started/);
    await until(() => mind.updates.length > 0, SOON_MS, 'an update');
    assert.deepEqual([...new Set(mind.updates)], [uri]);
    assert.match(await text('toggle_subscriber_updates'), /Stopped/);
    await can.unsubscribeResource({ uri });
    mind.updates.length = 0;
    assert.match(await text('toggle_subscriber_updates'), /Started/);
    assert.match(await text('toggle_subscriber_updates'), /Stopped/);
    await can.ping();
    assert.deepEqual(mind.updates, []);
  });
}

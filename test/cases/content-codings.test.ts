/**
 * Answers with a content coding, which the hub asks servers not to use: on every wire, whole, in pieces, damaged and
 * far too large.
 */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, describe, test } from 'node:test';
import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import { callParams, httpRig } from '../support/http-rig.ts';
import { type RunningHub, startHub, until } from '../support/hub.ts';
import { callTool } from '../support/mcp.ts';
import { sse, startWireServer, type WireRequest, type WireServer } from '../support/wire-server.ts';

const CODERS = {
  gzip: (body: string) => gzipSync(body),
  'x-gzip': (body: string) => gzipSync(body),
  deflate: (body: string) => deflateSync(body),
  DEFLATE: (body: string) => deflateRawSync(body),
  br: (body: string) => brotliCompressSync(body),
  zstd: (body: string) => zstdCompressSync(body),
  'utf-8': (body: string) => Buffer.from(body),
  identity: (body: string) => Buffer.from(body),
} as const;
const PLAIN = ['gzip', 'deflate', 'br', 'zstd'];
const BOMB_BYTES = 64 * 1024 * 1024;

/** Ends with the answer in this coding, as JSON or as an event stream. */
function send(at: WireRequest, coding: string, encode: (body: string) => Buffer, isEvents: boolean): boolean {
  if (at.reply === undefined) return false;
  const body = encode(isEvents ? sse(at.reply) : at.reply);
  const type = isEvents ? 'text/event-stream' : 'application/json';
  at.response.writeHead(200, { 'content-type': type, 'content-encoding': coding, 'content-length': body.length });
  at.response.end(body);
  return true;
}

/** A compressor that writes into the response what it is given, at once. */
function streamOf(coding: string, response: ServerResponse) {
  const engine =
    coding === 'gzip'
      ? createGzip({ flush: constants.Z_SYNC_FLUSH })
      : coding === 'br'
        ? createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH })
        : createZstdCompress({ flush: constants.ZSTD_e_flush });
  response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': coding });
  engine.pipe(response);
  return engine;
}

/** One server for all of a kind: the tool's argument `form` says how its call is answered. */
function formOf({ message }: WireRequest): string {
  const given = message.params?.arguments as { readonly form?: string } | undefined;
  return message.method === 'tools/call' ? (given?.form ?? '') : '';
}

// case: SV4
test('a body in one coding is read as JSON or events, on the first answer and on all others', async () => {
  for (const [coding, encode] of Object.entries(CODERS)) {
    for (const isEvents of [false, true]) {
      const asked: (string | undefined)[] = [];
      await using server = await startWireServer({
        on: (at) => {
          asked.push(at.request.headers['accept-encoding'] as string | undefined);
          return send(at, coding, encode, isEvents);
        },
      });
      const rig = await httpRig(server.url);
      try {
        await rig.shakeHands();
        assert.match(await rig.ask('tools/call', callParams('echo', {})), /echoed/, coding);
        assert.ok((await rig.ask('tools/call', callParams('big', {}))).length > 1_000_000, coding);
        assert.deepEqual([...new Set(asked)], ['identity']);
      } finally {
        await rig.close();
      }
    }
  }
});

// case: SV4
test('an event stream in a coding is read event by event, on a POST and on the GET stream', async () => {
  for (const coding of ['gzip', 'br', 'zstd']) {
    const engines: ReturnType<typeof streamOf>[] = [];
    await using server = await startWireServer({
      on(at) {
        if (at.request.method !== 'GET' && at.message.method !== 'tools/call') return false;
        const engine = streamOf(coding, at.response);
        engines.push(engine);
        engine.write(sse('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'));
        return true;
      },
    });
    const rig = await httpRig(server.url);
    try {
      const notices = () => rig.told.filter(({ text }) => text.includes('list_changed')).length;
      await rig.shakeHands();
      await rig.until(() => notices() === 1, `${coding}: notice on the GET stream`);
      const id = rig.begin('tools/call', callParams('echo', {}));
      await rig.until(() => notices() === 2, `${coding}: notice before the answer`);
      engines[1]?.write(sse(`{"jsonrpc":"2.0","id":${id},"result":{}}`));
      await rig.until(() => rig.told.some((one) => one.id === id && one.text.includes('result')), `${coding}: answer`);
    } finally {
      for (const engine of engines) engine.destroy();
      await rig.close();
    }
  }
});

describe('behind a hub', { timeout: 120_000 }, () => {
  let hub: RunningHub;
  let server: WireServer;
  before(async () => {
    const bombs = { gzip: bomb('gzip'), br: bomb('br'), zstd: bomb('zstd') };
    server = await startWireServer({
      on(at) {
        const form = formOf(at);
        const { response, reply = '' } = at;
        const head = (coding: string, status = 200) =>
          response.writeHead(status, { 'content-type': 'application/json', 'content-encoding': coding });
        if (form === '') return false;
        const [kind, coding = ''] = form.split('/');
        if (kind === 'plain') head(coding).end(reply);
        else if (kind === 'damaged') head(coding).end(Buffer.from('this is nothing that anybody has compressed'));
        else if (kind === 'cut') head(coding).end(CODERS[coding as 'gzip'](reply).subarray(0, -6));
        else if (kind === 'bomb') head(coding).end(bombs[coding as 'gzip']);
        else if (kind === 'error') {
          const error = { code: -32029, message: 'slow down' };
          head('gzip', 400).end(gzipSync(JSON.stringify({ jsonrpc: '2.0', id: at.message.id, error })));
        } else if (kind === 'window') {
          const params = { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_contentSizeFlag]: 0 };
          const engine = createZstdCompress({ params });
          head('zstd');
          engine.pipe(response);
          engine.write(' ');
          engine.end(reply);
        } else head('gzip, br').end(reply);
        return true;
      },
    });
    hub = await startHub({ config: { mcpServers: { coded: { url: server.url } } } });
    await until(async () => (await answerTo('')).text === 'echoed', 20_000, 'ready');
  });
  after(async () => {
    await hub?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function answerTo(form: string) {
    const startMs = performance.now();
    const { json } = await callTool(`${hub.url}/mcp`, 'coded_echo', { form }, { key: hub.key });
    return { text: json.result?.content?.[0]?.text, error: json.error, tookMs: performance.now() - startMs };
  }

  // case: SV4
  test('a coding that the body does not have is passed over', async () => {
    for (const coding of PLAIN) assert.equal((await answerTo(`plain/${coding}`)).text, 'echoed', coding);
  });

  // case: SV4
  test('an error in a coding keeps its code', async () => {
    assert.equal((await answerTo('error')).error?.code, -32029);
  });

  // case: SV4
  test('a damaged body, an unknown coding and a window that is too large end their own call by name', async () => {
    const forms = ['gzip', 'br', 'zstd', 'deflate'].flatMap((coding) => [`damaged/${coding}`, `cut/${coding}`]);
    for (const form of [...forms, 'window', 'unknown']) {
      const { error, tookMs } = await answerTo(form);
      assert.equal(error?.data?.code, 'upstream-protocol', `${form}: ${JSON.stringify(error)}`);
      assert.ok(tookMs < 2000, form);
      assert.equal((await answerTo('')).text, 'echoed', form);
    }
  });

  // case: SV4
  test('a body that grows above answerBytes ends its own call, and takes neither memory nor the loop', async () => {
    for (const coding of ['gzip', 'br', 'zstd']) {
      const bomb = answerTo(`bomb/${coding}`);
      const others: number[] = [];
      let isOver = false;
      void bomb.then(() => (isOver = true));
      while (!isOver) others.push((await answerTo('')).tookMs);
      assert.equal((await bomb).error?.data?.code, 'upstream-too-large', coding);
      assert.ok(Math.max(...others) < 1000, `${coding}: ${Math.max(...others)} ms`);
    }
  });
});

/** 64 MiB of spaces, or many times that where a body may have several parts. */
function bomb(coding: 'gzip' | 'br' | 'zstd'): Buffer {
  const spaces = Buffer.alloc(BOMB_BYTES, ' ');
  if (coding === 'br') return brotliCompressSync(spaces, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
  if (coding === 'zstd')
    return zstdCompressSync(spaces, {
      params: { [constants.ZSTD_c_windowLog]: 20, [constants.ZSTD_c_contentSizeFlag]: 0 },
    });
  const parts = Array<Buffer>(16).fill(gzipSync(spaces, { level: 1 }));
  return Buffer.concat([gzipSync('{"text":"'), ...parts]);
}

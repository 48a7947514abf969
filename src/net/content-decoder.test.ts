import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as restFor } from 'node:timers/promises';
import { constants, createZstdCompress, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { ask, type RawRequest, startRawServer } from '../../test/support/raw-http.ts';
import { limitsFrom } from '../config/limits.ts';
import { HubError } from '../model/errors.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { createEgress, type EgressPool } from './egress.ts';

interface Rig {
  /** Opens a pool for a server of that name. */
  open(owner: string): EgressPool;
  /** Returns the bytes that decoding holds. */
  held(): number;
}

async function withServer(answer: (request: RawRequest) => void, run: (rig: Rig) => Promise<void>): Promise<void> {
  const runtime: Runtime = createRuntime();
  const server = await startRawServer(answer);
  const egress = createEgress({ runtime, limits: limitsFrom({}), env: {} });
  const url = new URL(`http://127.0.0.1:${server.port}/`);
  try {
    await run({
      open: (owner) => egress.open(url, { owner, connections: 8, addresses: 'any' }),
      held: () => runtime.ceilings.table().find(({ name }) => name === 'net.decoding')?.size ?? -1,
    });
  } finally {
    await egress.close(runtime.deadline(1000));
    await server.close();
  }
}

const head = (coding: string, ...fields: string[]): Buffer =>
  Buffer.from(['HTTP/1.1 200 OK', `content-encoding: ${coding}`, ...fields, '', ''].join('\r\n'));

function inChunks(body: Buffer, bytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < body.length; at += bytes) {
    const part = body.subarray(at, at + bytes);
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}

// finding: SR-A17
test('calls the decoder equally often for any chunk size', async () => {
  const text = randomBytes(30_000).toString('hex');
  const body = inChunks(gzipSync(text), 1);
  const answer = ({ socket }: RawRequest): boolean =>
    socket.write(Buffer.concat([head('gzip', 'transfer-encoding: chunked'), body]));
  await withServer(answer, async ({ open, held }) => {
    const asked = ask(open('docs'));
    assert.equal((await asked.body).toString(), text);
    const pieces = asked.heard.filter((event) => event === 'data').length;
    assert.ok(pieces < 100, `${pieces} pieces of a body that comes in some 30,000 chunks`);
    assert.equal(held(), 0);
  });
});

// finding: SR-A17
test('closes the connection when a body continues after the end of its coding', async () => {
  const answer = ({ socket }: RawRequest): void => {
    const junk = Buffer.alloc(16 * 1024, 'A');
    const more = (): void => {
      while (socket.writable && socket.write(junk));
    };
    socket.on('drain', more);
    socket.write(Buffer.concat([head('deflate'), deflateSync('{"a":1}')]));
    more();
  };
  await withServer(answer, async ({ open, held }) => {
    await assert.rejects(ask(open('docs')).body, (fault: unknown) => {
      assert.ok(fault instanceof HubError);
      assert.deepEqual([fault.code, fault.detail.reason], ['upstream-protocol', 'http-content-coding']);
      return true;
    });
    assert.equal(held(), 0);
  });
});

// finding: SR-A17
test('counts the windows of all connections of a server together, and leaves memory for other servers', async () => {
  const opened: ReturnType<typeof createZstdCompress>[] = [];
  const answer = ({ socket, line }: RawRequest): void => {
    const params = { [constants.ZSTD_c_windowLog]: 23, [constants.ZSTD_c_contentSizeFlag]: 0 };
    const engine = createZstdCompress({ params, flush: constants.ZSTD_e_flush });
    opened.push(engine);
    socket.write(head('zstd'));
    engine.pipe(socket);
    engine.write('{"begun":');
    if (line.includes('/whole')) engine.end('1}');
  };
  await withServer(answer, async ({ open, held }) => {
    const pools = Array.from({ length: 5 }, () => open('docs'));
    const asked = pools.flatMap((pool) =>
      Array.from({ length: 4 }, () => {
        const { promise, resolve } = Promise.withResolvers<string>();
        const one = ask(pool, { on: (event) => (event === 'data' || event === 'error') && resolve(event) });
        return { first: promise, controller: one.controller };
      }),
    );
    const firsts = await Promise.all(asked.map(({ first }) => first));
    assert.equal(firsts.filter((event) => event === 'data').length, 15);
    assert.ok(held() <= 128 * 1024 * 1024);
    assert.equal((await ask(open('other'), { path: '/whole' }).body).toString(), '{"begun":1}');
    for (const { controller } of asked) controller.abort(new Error('enough'));
    assert.equal(held(), 0);
    for (const engine of opened) engine.destroy();
  });
});

const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
const long = JSON.stringify(Array.from({ length: 20_000 }, (_, at) => at));

/** Bodies of several frames or members, and their content. Each entry is what one read may contain. */
const SEVERAL: readonly (readonly [what: string, coding: string, text: string, parts: readonly Buffer[]])[] = [
  ['frames', 'zstd', '{"a":1}', [zstdCompressSync('{"a":'), zstdCompressSync('1'), zstdCompressSync('}')]],
  ['frames with checksums', 'zstd', '{"a":1}', [zstdCompressSync('{"a":', checked), zstdCompressSync('1}', checked)]],
  [
    'a frame that needs a larger window',
    'zstd',
    `["x",${long}]`,
    [zstdCompressSync('["x",'), zstdCompressSync(`${long}]`)],
  ],
  ['an empty frame', 'zstd', '{"a":1}', [zstdCompressSync('{"a":'), zstdCompressSync(''), zstdCompressSync('1}')]],
  [
    'frames to be skipped',
    'zstd',
    '{"a":1}',
    [skippable, zstdCompressSync('{"a":'), skippable, zstdCompressSync('1}'), skippable],
  ],
  ['what is no frame at the end', 'zstd', '{"a":1}', [zstdCompressSync('{"a":1}'), Buffer.from('\r\n\r\n')]],
  ['members', 'gzip', '{"a":1}', [gzipSync('{"a":'), gzipSync('1'), gzipSync('}')]],
  ['a large member', 'gzip', `["x",${long}]`, [gzipSync('["x",'), gzipSync(`${long}]`)]],
];

// case: SV4
for (const [what, coding, text, parts] of SEVERAL)
  test(`reads a ${coding} body with ${what} completely for any split`, async () => {
    const whole = Buffer.concat(parts);
    const cuts: Record<string, readonly Buffer[]> = {
      whole: [whole],
      parts,
      bytes: Array.from(whole.subarray(0, 60), (byte) => Buffer.from([byte])).concat(whole.subarray(60)),
    };
    const answer = async ({ socket, line }: RawRequest): Promise<void> => {
      socket.setNoDelay(true);
      socket.write(head(coding, `content-length: ${whole.length}`));
      for (const piece of cuts[/cut=(\w+)/.exec(line)?.[1] ?? ''] ?? []) {
        socket.write(piece);
        await restFor(2);
      }
    };
    await withServer(
      (request) => void answer(request),
      async ({ open, held }) => {
        for (const cut of Object.keys(cuts)) {
          const body = await ask(open('docs'), { path: `/?cut=${cut}` }).body;
          assert.equal(body.toString(), text, cut);
        }
        assert.equal(held(), 0);
      },
    );
  });

// case: SV4
test('reports a zstd body that is truncated in a later frame, or has thousands of frames in one read', async () => {
  const bodies: Record<string, Buffer> = {
    cut: Buffer.concat([zstdCompressSync('{"a":'), zstdCompressSync('1}').subarray(0, -2)]),
    magic: Buffer.concat([zstdCompressSync('{"a":1}'), Buffer.from([0x28, 0xb5])]),
    many: Buffer.concat(Array.from({ length: 3000 }, () => zstdCompressSync(''))),
    window: Buffer.concat([zstdCompressSync('{'), Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 0, 0, 0])]),
  };
  const answer = ({ socket, line }: RawRequest): void => {
    const body = bodies[/body=(\w+)/.exec(line)?.[1] ?? ''] ?? Buffer.alloc(0);
    socket.write(Buffer.concat([head('zstd', `content-length: ${body.length}`), body]));
  };
  const expected: Record<string, RegExp> = { many: /more than 1000 frames/, window: /a window of more than 8 MiB/ };
  await withServer(answer, async ({ open, held }) => {
    for (const name of Object.keys(bodies))
      await assert.rejects(ask(open('docs'), { path: `/?body=${name}` }).body, (fault: unknown) => {
        assert.ok(fault instanceof HubError);
        assert.equal(fault.detail.reason, 'http-content-coding', name);
        assert.match(fault.message, expected[name] ?? /cannot be decoded/);
        return true;
      });
    assert.equal(held(), 0);
  });
});

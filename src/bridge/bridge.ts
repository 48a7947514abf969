/**
 * `mcphub bridge`: a hub for clients that can only start a program; reads messages from stdin and writes them to
 * stdout, one per line. Inspects only their ids and methods.
 * Guarantees: only messages are written to stdout; at the end of stdin it exits after pending responses (at most 5 s);
 * when the hub is not available, each request gets an error, and stderr one message.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRefusal, type Refusal } from '../model/outcome.ts';
import { socketName } from '../model/supervisor-messages.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { hubAddress } from '../operator/hub-request.ts';
import { printMessage } from '../operator/output.ts';
import { refusedMessage } from '../protocol/answer-id.ts';
import { elementSpans } from '../protocol/elements.ts';
import { LineSplitter } from '../protocol/lines.ts';
import { isBatch, scanEnvelope, splitBatch } from '../protocol/scan.ts';
import { errorFrame, refusalFrame } from '../protocol/write.ts';
import { createRuntime } from '../runtime/runtime.ts';
import { BridgeConnection } from './hub-connection.ts';
import { outputLine } from './output.ts';
import type { BridgeTarget } from './request.ts';

export interface BridgeOptions {
  readonly url?: string;
  readonly keyFile?: string;
  readonly dataDir?: string;
}

const LINE_BYTES = 16 * 1024 * 1024;
const LAST_ANSWERS_MS = 5000;
/** The hub's own limits are lower. */
const SCAN = { maxDepth: 512, maxIdBytes: 1024, strict: false } as const;
/** Most messages in one batch. */
const BATCH = 1000;
const NEWLINE = Buffer.from('\n');

/** Runs the bridge. `path` is a group or a server; undefined for everything. */
export async function bridge(path: string | undefined, options: BridgeOptions): Promise<void> {
  const target = targetFrom(path, options);
  const runtime = createRuntime();
  let lastWarning = '';
  const warn = (words: string): void => {
    if (words !== lastWarning) printMessage(`mcphub bridge: ${words}`);
    lastWarning = words;
  };
  const write = (text: Buffer): void => {
    const line = outputLine(text);
    if (line === undefined) return warn('a message of the hub is not valid JSON-RPC and was dropped');
    process.stdout.write(Buffer.concat([line, NEWLINE]));
  };
  const link = new BridgeConnection(runtime, target, {
    message: write,
    failed(idRaw, why) {
      warn(why);
      const message = `The hub at ${placeOf(target)} did not answer: ${why}. Is it running? \`mcphub start\` starts one.`;
      write(errorFrame(idRaw, { code: -32000, message }));
    },
    warn,
  });
  const refuse = (message: Buffer, refusal: Refusal): void => {
    const { kind, idRaw } = refusedMessage(message, refusal);
    // A notification or a reply gets no response.
    if (kind === 'notification' || kind === 'reply') warn(`dropped a ${kind}: ${refusal.message}`);
    else write(refusalFrame(idRaw, refusal));
  };
  const receive = (message: Buffer): void => {
    const strict = scanEnvelope(message, { ...SCAN, strict: true });
    // The hub reports what is wrong with a text whose id can be read.
    const envelope = isRefusal(strict) ? scanEnvelope(message, SCAN) : strict;
    if (isRefusal(envelope)) return refuse(message, envelope);
    const { kind, id, method, bytes } = envelope;
    const idRaw = kind === 'request' ? Buffer.from(bytes.subarray(id.at, id.end)) : undefined;
    link.send(Buffer.from(bytes), { idRaw, method });
  };
  await readLines((line) => {
    if (!isBatch(line)) return receive(line);
    const batch = splitBatch(line, BATCH, SCAN);
    if (isRefusal(batch)) return refuse(line, batch);
    // Sends the messages separately, so that a slow one does not delay the others.
    const whole = { at: line.indexOf('['), end: line.length };
    for (const { at, end } of elementSpans(line, whole, BATCH)) receive(line.subarray(at, end));
  });
  const untilMs = runtime.clock.nowMs() + LAST_ANSWERS_MS;
  // The runtime's timers do not keep the process alive; these pending responses must.
  const hold = setInterval(() => {}, LAST_ANSWERS_MS);
  while (link.open > 0 && runtime.clock.nowMs() < untilMs)
    await new Promise<void>((resolve) => runtime.timers.after(25, resolve));
  await link.stop();
  clearInterval(hold);
  process.exit(EXIT.ok);
}

function targetFrom(path: string | undefined, options: BridgeOptions): BridgeTarget {
  const segment = path === undefined ? '' : `/${encodeURIComponent(path)}`;
  const address = options.url ?? process.env.MCPHUB_URL;
  const key = options.keyFile === undefined ? process.env.MCPHUB_KEY : readKey(options.keyFile);
  if (address === undefined || address === '') {
    const socketPath = join(hubAddress(options.dataDir).runDir, socketName('hub', 1));
    return { url: undefined, socketPath, path: `/mcp${segment}`, key: undefined };
  }
  const url = URL.parse(address);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new CliFailure(
      EXIT.usage,
      `--url takes an address such as http://localhost:3000/mcp, not ${JSON.stringify(address)}`,
    );
  if (!key)
    throw new CliFailure(
      EXIT.auth,
      'A hub at a URL needs a key: put it in MCPHUB_KEY, or pass a file with --key-file.',
    );
  const base = url.pathname === '/' ? '/mcp' : url.pathname.replace(/\/$/, '');
  return { url, socketPath: undefined, path: `${base}${segment}`, key };
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    throw new CliFailure(EXIT.usage, `--key-file ${file} cannot be read.`);
  }
}

function placeOf({ url, socketPath }: BridgeTarget): string {
  return url ? url.origin : (socketPath ?? 'its socket');
}

/** Settles at the end of stdin, or when the client has closed stdout. */
function readLines(take: (line: Buffer) => void): Promise<void> {
  const lines = new LineSplitter(LINE_BYTES);
  return new Promise((resolve, reject) => {
    process.stdout.on('error', () => resolve());
    process.stdin.on('data', (chunk: Buffer) => {
      lines.push(Buffer.from(chunk));
      for (let line = lines.next(); line !== undefined; line = lines.next()) take(line);
      if (lines.overlong) reject(new CliFailure(EXIT.error, `a line on stdin is longer than ${LINE_BYTES} bytes`));
    });
    process.stdin.on('end', () => resolve());
    process.stdin.on('error', () => resolve());
  });
}

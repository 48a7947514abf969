/**
 * Sends requests of the CLI to a running hub: HTTP over its private unix sockets.
 * Guarantees: every request ends by its timeout; the error message tells whether the hub is not running, not reachable,
 * or belongs to another user.
 */
import { statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import type { ErrorAnswer } from '../admin/contract.ts';
import { unsafeSocketDir } from '../config/file-access.ts';
import { dataDirFrom, runDirFor } from '../config/paths.ts';
import { HubError } from '../model/errors.ts';
import { socketName } from '../model/supervisor-messages.ts';
import { createRuntime, type Runtime } from '../runtime/runtime.ts';
import { CliFailure, EXIT } from './exit.ts';

const ANSWER_BYTES = 64 * 1024 * 1024;

export interface HubAddress {
  readonly dataDir: string;
  readonly runDir: string;
}

export interface Asked {
  readonly status: number;
  readonly body: unknown;
}

export interface Question {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly timeoutMs: number;
}

/** Returns the data directory without reading its content. */
export function dataDirGiven(flag: string | undefined): string {
  return dataDirFrom(process.env, process.env.HOME ?? '', flag);
}

/** Finds the hub. Throws `CliFailure` when its socket directory belongs to another user or is open to others. */
export function hubAddress(dataDirFlag: string | undefined): HubAddress {
  const dataDir = dataDirGiven(dataDirFlag);
  const runDir = runDirFor(dataDir);
  // Whoever created a directory there would receive the requests and could answer them.
  const unsafe = unsafeSocketDir(runDir, ownerOf(dataDir));
  if (unsafe !== undefined) throw new CliFailure(EXIT.auth, `The socket directory of the hub is unsafe: ${unsafe}`);
  return { dataDir, runDir };
}

/** Returns the user of the hub: for root the owner of the data directory, otherwise the current user. */
function ownerOf(dataDir: string): number | undefined {
  const uid = process.getuid?.();
  return uid === 0 ? statSync(dataDir, { throwIfNoEntry: false })?.uid : uid;
}

/** Sends a request to the control process. */
export function askControl(address: HubAddress, question: Question): Promise<Asked> {
  return ask(join(address.runDir, socketName('control', 0)), address, question);
}

/** Sends a request to worker number `slot`. */
export function askHub(address: HubAddress, slot: number, question: Question): Promise<Asked> {
  return ask(join(address.runDir, socketName('hub', slot)), address, question);
}

/** Returns the body of a response, or throws a failure with the hub's own message. */
export function bodyOf<T>(asked: Asked): T {
  if (asked.status < 400) return asked.body as T;
  const error = (asked.body as Partial<ErrorAnswer> | undefined)?.error;
  const code =
    asked.status === 404 ? EXIT.notFound : asked.status === 401 || asked.status === 403 ? EXIT.auth : EXIT.error;
  throw new CliFailure(code, error?.message ?? `the hub returned status ${asked.status}`);
}

async function ask(socketPath: string, address: HubAddress, question: Question): Promise<Asked> {
  const runtime = createRuntime();
  using deadline = runtime.deadline(question.timeoutMs);
  try {
    return await runtime.waits.for(
      exchange(runtime, socketPath, question, (stop) => deadline.onEnd(stop)),
      { label: 'hub-ask', owner: question.path, deadline },
    );
  } catch (fault) {
    throw failureFrom(fault, address, question);
  }
}

function exchange(
  _kernel: Runtime,
  socketPath: string,
  question: Question,
  onEnd: (stop: () => void) => void,
): Promise<Asked> {
  return new Promise((resolve, reject) => {
    const payload = question.body === undefined ? '' : JSON.stringify(question.body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
    const sent = httpRequest({
      socketPath,
      path: question.path,
      method: question.method ?? 'GET',
      headers: { host: 'localhost', ...headers },
      agent: false,
    });
    onEnd(() => sent.destroy());
    sent.on('error', reject);
    sent.on('response', (answer) => {
      const chunks: Buffer[] = []; // bounded by: ANSWER_BYTES
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES) answer.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      answer.on('error', reject);
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        try {
          resolve({ status: answer.statusCode ?? 0, body: text === '' ? undefined : JSON.parse(text) });
        } catch (cause) {
          reject(new HubError('internal', { message: 'the hub’s answer is not JSON', cause }));
        }
      });
    });
    sent.end(payload);
  });
}

function failureFrom(fault: unknown, address: HubAddress, question: Question): CliFailure {
  const code = (fault as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new CliFailure(
      EXIT.unreachable,
      `No hub is running on the data directory ${address.dataDir}. Start one with \`mcphub start\`, or pass another with --data-dir.`,
    );
  }
  if (code === 'EACCES')
    return new CliFailure(EXIT.auth, `The hub on ${address.dataDir} belongs to another user of this machine.`);
  if (fault instanceof HubError && fault.code === 'wait-expired') {
    return new CliFailure(
      EXIT.unreachable,
      `The hub did not answer ${question.path} within ${question.timeoutMs} ms. \`mcphub waits\` queries each process directly.`,
    );
  }
  return new CliFailure(EXIT.error, fault instanceof Error ? fault.message : String(fault));
}

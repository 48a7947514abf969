/**
 * Sends requests of the CLI to a running hub: HTTP over its private unix sockets.
 * Guarantees: every request ends by its timeout; the error message tells whether the hub is not running, not reachable,
 * or belongs to another user.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrorAnswer } from '../admin/contract.ts';
import { unsafeSocketDir } from '../config/file-access.ts';
import { dataDirFrom, runDirFor } from '../config/paths.ts';
import { HubError } from '../model/errors.ts';
import { socketName } from '../model/supervisor-messages.ts';
import { isAbsent, requestUnixSocket, type UnixSocketResponse } from '../net/unix-socket-request.ts';
import { createRuntime } from '../runtime/runtime.ts';
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
  const { method = 'GET', path, body } = question;
  const request = { method, path, body: body === undefined ? undefined : JSON.stringify(body) };
  try {
    const answer = requestUnixSocket(socketPath, request, { deadline, maxBytes: ANSWER_BYTES });
    return askedFrom(await runtime.waits.for(answer, { label: 'hub-ask', owner: path, deadline }));
  } catch (fault) {
    throw failureFrom(fault, address, question);
  }
}

function askedFrom({ status, text }: UnixSocketResponse): Asked {
  try {
    return { status, body: text === '' ? undefined : JSON.parse(text) };
  } catch (cause) {
    throw new HubError('internal', { message: 'the hub’s answer is not JSON', cause });
  }
}

function failureFrom(fault: unknown, address: HubAddress, question: Question): CliFailure {
  if (isAbsent(fault)) {
    return new CliFailure(
      EXIT.unreachable,
      `No hub is running on the data directory ${address.dataDir}. Start one with \`mcphub start\`, or pass another with --data-dir.`,
    );
  }
  if ((fault as NodeJS.ErrnoException).code === 'EACCES')
    return new CliFailure(EXIT.auth, `The hub on ${address.dataDir} belongs to another user of this machine.`);
  if (fault instanceof HubError && fault.code === 'wait-expired') {
    return new CliFailure(
      EXIT.unreachable,
      `The hub did not answer ${question.path} within ${question.timeoutMs} ms. \`mcphub waits\` queries each process directly.`,
    );
  }
  return new CliFailure(EXIT.error, fault instanceof Error ? fault.message : String(fault));
}

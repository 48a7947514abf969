/**
 * The certificate authorities that servers are checked against: those of Node.js and the system, and those in the file of MCPHUB_CA_FILE.
 * Guarantees: a file that cannot be used adds nothing, so that a check is never weaker for it; it is read again in the background, and what it
 * held before stays in use while it cannot be read. Edge file: reads that file.
 */
import { X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { type FileText, readConfigText } from '../config/config-file.ts';
import { HubError } from '../model/errors.ts';
import type { Deadline } from '../runtime/deadline.ts';
import type { Runtime } from '../runtime/runtime.ts';

const VARIABLE = 'MCPHUB_CA_FILE';
const MAX_BYTES = 4 * 1024 * 1024;
const READ_MS = 2000;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]{1,100000}-----END CERTIFICATE-----/g;

/** Reads the file; for boot, as it blocks. Throws `config-invalid` when it cannot be read or has no certificate. */
export function readAuthorities(file: string): string {
  let text: string;
  try {
    // Opening a named pipe must not wait for its writer.
    const handle = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size, ...found } = fstatSync(handle);
      if (!isPlainFile(found.mode)) throw refused(file, 'is not a plain file');
      if (size > MAX_BYTES) throw refused(file, `is larger than ${MAX_BYTES / 1024 / 1024} MiB`);
      text = readFileSync(handle, 'utf8');
    } finally {
      closeSync(handle);
    }
  } catch (fault) {
    throw fault instanceof HubError ? fault : refused(file, whyUnreadable(fault), fault);
  }
  const wrong = wrongIn(text);
  if (wrong !== undefined) throw refused(file, wrong);
  return text;
}

export class Authorities {
  readonly #runtime: Runtime;
  readonly #file: string;
  #text = '';
  #context: SecureContext;
  #fault: string | undefined;
  #reading: Deadline | undefined;
  #isClosed = false;

  /** `file` empty = none. Never throws: a file that cannot be used shows in `fault`. */
  constructor(runtime: Runtime, file = '') {
    this.#runtime = runtime;
    this.#file = file;
    try {
      if (file !== '') this.#text = readAuthorities(file);
    } catch (fault) {
      this.#fault = fault instanceof Error ? fault.message : String(fault);
    }
    this.#context = contextWith(this.#text);
  }

  get context(): SecureContext {
    return this.#context;
  }

  /** Why the file, or its newest content, is not in use; undefined = it is, or there is none. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Reads the file again, in the background; cheap where it has not changed. */
  refresh(): void {
    if (this.#file === '' || this.#reading || this.#isClosed) return;
    const deadline = this.#runtime.deadline(READ_MS);
    this.#reading = deadline;
    this.#runtime.scope.run(`reading ${VARIABLE}`, async () => {
      try {
        this.#use(await readConfigText(this.#file, this.#runtime.waits, deadline));
      } catch {
        if (!this.#isClosed) this.#fault = refused(this.#file, `was not read within ${READ_MS} ms`).message;
      } finally {
        deadline[Symbol.dispose]();
        this.#reading = undefined;
      }
    });
  }

  /** Ends a reading that is under way; nothing is read any more. */
  close(): void {
    this.#isClosed = true;
    this.#reading?.end('stopped');
  }

  #use(read: FileText): void {
    const isSame = 'text' in read && read.text === this.#text;
    const wrong = isSame ? undefined : 'fault' in read ? read.fault : wrongIn(read.text);
    this.#fault = wrong === undefined ? undefined : refused(this.#file, wrong).message;
    if (isSame || wrong !== undefined || 'fault' in read) return;
    this.#text = read.text;
    this.#context = contextWith(read.text);
  }
}

function contextWith(text: string): SecureContext {
  if (text === '') return createSecureContext({ minVersion: 'TLSv1.2' });
  return createSecureContext({ minVersion: 'TLSv1.2', ca: [...getCACertificates('default'), text] });
}

/** What makes a text no list of PEM certificates; undefined = it is one. */
function wrongIn(text: string): string | undefined {
  const found = text.match(CERTIFICATE) ?? [];
  if (found.length === 0) return 'has no PEM certificate (-----BEGIN CERTIFICATE-----)';
  for (const [index, pem] of found.entries())
    try {
      new X509Certificate(pem);
    } catch {
      return `has a certificate that cannot be read (number ${index + 1})`;
    }
  return undefined;
}

function refused(file: string, why: string, cause?: unknown): HubError {
  return new HubError('config-invalid', { message: `${VARIABLE} (${file}) ${why}`, cause });
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  ENOTDIR: 'is not there',
  EACCES: 'may not be read by this user',
  EISDIR: 'is a directory',
  ENXIO: 'is not a plain file',
};

function whyUnreadable(fault: unknown): string {
  const code = fault instanceof Error && 'code' in fault ? String(fault.code) : 'unknown';
  return WORDS[code] ?? `cannot be read (${code})`;
}

function isPlainFile(mode: number): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFREG;
}

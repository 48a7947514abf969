/**
 * The certificate authorities for TLS: those of Node.js and the system, and those in the file of MCPHUB_CA_FILE.
 * Guarantees: an unusable file adds nothing, so verification never gets weaker; the file is read again in the
 * background, and its last valid content stays in use while it cannot be read.
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

/**
 * Reads the file; only for start, because it blocks. Throws `config-invalid` when it cannot be read or contains no
 * certificate.
 */
export function readAuthorities(file: string): string {
  let text: string;
  try {
    // O_NONBLOCK: opening a named pipe must not wait for its writer.
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

  /** An empty `file` means none. Never throws: `fault` tells when a file cannot be used. */
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

  /** Why the file, or its newest content, is not in use; undefined when it is, or when there is none. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Reads the file again in the background; cheap when it has not changed. */
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

  /** Ends a pending read; nothing is read afterwards. */
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

/** Returns why a text is not a list of PEM certificates, or undefined when it is one. */
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

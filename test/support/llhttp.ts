/**
 * The reference HTTP/1.1 response parser: llhttp, in the WebAssembly build that undici ships. Memory is reused between
 * calls; one call at a time.
 */
import { createRequire } from 'node:module';

/** What a parser made of the bytes of one response. */
export interface ParsedResponse {
  /** `done`: the message has ended; `more`: it needs more bytes; `refused`: the bytes are malformed. */
  readonly outcome: 'done' | 'more' | 'refused';
  readonly status: number;
  readonly body: string;
  /** Offset behind the message, where it has ended. */
  readonly bytes: number;
  /** Reason of a refusal. */
  readonly reason: string;
}

/** The part of the runtime's WebAssembly that is used here; without the DOM library TypeScript does not know it. */
declare const WebAssembly: {
  Module: new (binary: Uint8Array) => object;
  Instance: new (module: object, imports: Readonly<Record<string, object>>) => { readonly exports: unknown };
};

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  malloc(size: number): number;
  llhttp_alloc(type: number): number;
  llhttp_free(parser: number): void;
  llhttp_execute(parser: number, bytes: number, length: number): number;
  llhttp_finish(parser: number): number;
  llhttp_get_error_pos(parser: number): number;
  llhttp_get_error_reason(parser: number): number;
}

const TYPE_RESPONSE = 2;
const OK = 0;
const PAUSED = 21;
const PAUSED_UPGRADE = 22;
const BUFFER_BYTES = 64 * 1024;
/** `on_headers_complete` returns it for a message without a body. */
const NO_BODY = 1;

/** Creates the parser; `parse` reads one final response, skipping interim ones. */
export function createLlhttp(): (bytes: Buffer, how: { bodiless: boolean; ends: boolean }) => ParsedResponse {
  const require = createRequire(import.meta.url);
  const binary = require('undici/lib/llhttp/llhttp-wasm.js') as Buffer;
  let bodiless = false;
  let status = 0;
  let body = '';
  const text = (at: number, length: number): string =>
    Buffer.from(exports.memory.buffer, at, length).toString('latin1');
  const env = {
    wasm_on_url: () => 0,
    wasm_on_status: () => 0,
    wasm_on_message_begin: () => 0,
    wasm_on_header_field: () => 0,
    wasm_on_header_value: () => 0,
    wasm_on_headers_complete: (_parser: number, code: number) => {
      if (code >= 200) status = code;
      return bodiless && code >= 200 ? NO_BODY : 0;
    },
    wasm_on_body: (_parser: number, at: number, length: number) => {
      body += text(at, length);
      return 0;
    },
    wasm_on_message_complete: () => (status > 0 ? PAUSED : 0),
  };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(binary)), { env });
  const exports = instance.exports as unknown as Exports;
  const start = exports.malloc(BUFFER_BYTES);

  function reasonAt(at: number): string {
    const memory = Buffer.from(exports.memory.buffer);
    return memory.toString('latin1', at, memory.indexOf(0, at));
  }

  return (bytes, how) => {
    if (bytes.length > BUFFER_BYTES) throw new RangeError(`at most ${BUFFER_BYTES} bytes`);
    ({ bodiless } = how);
    status = 0;
    body = '';
    const parser = exports.llhttp_alloc(TYPE_RESPONSE);
    try {
      new Uint8Array(exports.memory.buffer, start, bytes.length).set(bytes);
      const code = exports.llhttp_execute(parser, start, bytes.length);
      const at = code === OK ? bytes.length : exports.llhttp_get_error_pos(parser) - start;
      if (code === PAUSED) return { outcome: 'done', status, body, bytes: at, reason: '' };
      if (code === PAUSED_UPGRADE) return { outcome: 'refused', status, body, bytes: at, reason: 'upgrade' };
      if (code !== OK)
        return {
          outcome: 'refused',
          status,
          body,
          bytes: at,
          reason: reasonAt(exports.llhttp_get_error_reason(parser)),
        };
      const ended = how.ends && exports.llhttp_finish(parser);
      // A body that ends with the connection reports its end through `on_message_complete`, whose pause is the return
      // value here.
      if (ended === PAUSED) return { outcome: 'done', status, body, bytes: bytes.length, reason: '' };
      return { outcome: 'more', status, body, bytes: at, reason: '' };
    } finally {
      exports.llhttp_free(parser);
    }
  };
}

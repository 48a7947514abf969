/**
 * A response that remembers what was written to it, and whose reader a test can stop.
 */
import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';

export class FakeResponse extends EventEmitter {
  status = 0;
  headers: Record<string, string | number> = {};
  headersSent = false;
  destroyed = false;
  ended = false;
  /** False = `write` says that the buffer is full. */
  takes = true;
  writableLength = 0;
  writableFinished = false;
  readonly writes: string[] = []; // bounded by: one test

  get text(): string {
    return this.writes.join('');
  }

  writeHead(status: number, headers: Record<string, string | number> = {}): this {
    if (this.headersSent) throw new Error('the head was written twice');
    this.status = status;
    this.headers = headers;
    this.headersSent = true;
    return this;
  }

  write(chunk: Buffer | string): boolean {
    if (this.ended) throw new Error('written after the end');
    this.writes.push(chunk.toString());
    return this.takes;
  }

  end(chunk?: Buffer | string): this {
    if (chunk !== undefined) this.write(chunk);
    if (this.ended) throw new Error('ended twice');
    this.ended = true;
    return this;
  }

  cork(): void {}

  uncork(): void {}

  destroy(): this {
    this.destroyed = true;
    this.emit('close');
    return this;
  }

  asResponse(): ServerResponse {
    return this as unknown as ServerResponse;
  }
}

export function fakeRequest(headers: Record<string, string> = {}): IncomingMessage {
  return { headers, complete: true } as unknown as IncomingMessage;
}

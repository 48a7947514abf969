/**
 * Publishes the events of a link.
 */
import type { HubError } from '../../model/errors.ts';
import type { InitializeResult } from '../../protocol/era-2025/initialize.ts';
import type { Runtime } from '../../runtime/runtime.ts';

/** `ms`: time since the connection was started. */
export function publishReady(
  runtime: Runtime,
  server: string,
  hello: InitializeResult,
  tools: number,
  ms: number,
): void {
  const version = `${hello.name} ${hello.serverVersion} ${hello.version}`.trim();
  runtime.bus.publish({ type: 'server-became-ready', server, tools, ms: Math.round(ms), version });
}

export function publishLost(runtime: Runtime, server: string, fault: HubError, retryMs: number): void {
  const { code, message, detail } = fault;
  const { phase = '', reference } = detail;
  const about = { server, phase, code, message, retryMs };
  runtime.bus.publish({ type: 'server-was-lost', ...about, ...(reference === undefined ? {} : { reference }) });
}

export function publishRaised({ bus }: Runtime, server: string, silenceMs: number): void {
  bus.publish({ type: 'server-silence-raised', server, silenceMs });
}

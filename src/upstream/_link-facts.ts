/**
 * What a link tells the operator of its life.
 */
import type { HubError } from '../kernel/errors.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ServerHello } from '../protocol/era-2025/initialize.ts';

/** `ms` = from the begin of the connection. */
export function publishReady(kernel: Kernel, server: string, hello: ServerHello, tools: number, ms: number): void {
  const version = `${hello.name} ${hello.serverVersion} ${hello.version}`.trim();
  kernel.bus.publish({ type: 'server-became-ready', server, tools, ms: Math.round(ms), version });
}

export function publishLost(kernel: Kernel, server: string, fault: HubError, retryMs: number): void {
  const { code, message, detail } = fault;
  const { phase = '', reference } = detail;
  const about = { server, phase, code, message, retryMs };
  kernel.bus.publish({ type: 'server-was-lost', ...about, ...(reference === undefined ? {} : { reference }) });
}

export function publishRaised({ bus }: Kernel, server: string, silenceMs: number): void {
  bus.publish({ type: 'server-silence-raised', server, silenceMs });
}

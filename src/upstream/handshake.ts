/**
 * The opening of a legacy connection: initialize, and initialized.
 * Promises: ends by its deadline; the initialized notification is sent and never waited for; a server that speaks no date of ours is named.
 * Does not: decide what is declared (`talk.ts` says it).
 */
import type { Deadline } from '../kernel/deadline.ts';
import { HubError } from '../kernel/errors.ts';
import { isRefusal } from '../kernel/outcome.ts';
import { SILENT_BACK_CHANNEL } from '../protocol/back-channel.ts';
import { initializeParams, readInitializeResult, type ServerHello } from '../protocol/era-2025/initialize.ts';
import { isVersion2025 } from '../protocol/era-2025/versions.ts';
import type { Correlator } from './correlate.ts';
import type { Transport } from './transport.ts';

export interface HandshakeParts {
  readonly server: string;
  readonly correlator: Correlator;
  readonly transport: Transport;
  readonly version: string;
  /** The setting that gives the handshake more time. */
  readonly setting: string;
  /** What the client side can do; 0 = nothing. */
  readonly capabilityBits: number;
}

export async function shakeHands(parts: HandshakeParts, deadline: Deadline): Promise<ServerHello> {
  const { server, correlator, transport } = parts;
  const answer = await correlator.ask(
    {
      method: 'initialize',
      label: 'upstream-handshake',
      owner: server,
      deadline,
      setting: parts.setting,
      back: SILENT_BACK_CHANNEL,
      silence: undefined,
    },
    () => initializeParams({ name: 'mcphub', version: parts.version }, parts.capabilityBits),
  );
  if (isRefusal(answer))
    throw new HubError(answer.code, {
      message: answer.message,
      detail: { server, phase: 'handshake', ...answer.detail },
    });
  if (answer.kind === 'error') {
    throw new HubError('upstream-protocol', {
      message: `${server} refused initialize: ${answer.json.toString('utf8', 0, 300)}`,
      detail: { server, phase: 'handshake' },
    });
  }
  const hello = readInitializeResult(answer.json);
  if (isRefusal(hello))
    throw new HubError(hello.code, { message: `${server}: ${hello.message}`, detail: { server, phase: 'handshake' } });
  if (!isVersion2025(hello.version)) {
    throw new HubError('upstream-protocol', {
      message: `${server} speaks protocol ${hello.version.slice(0, 40)}, which this hub does not.`,
      detail: { server, phase: 'handshake' },
    });
  }
  transport.negotiated(hello.version);
  correlator.notify('notifications/initialized', undefined);
  return hello;
}

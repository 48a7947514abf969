/** Converts the options shared by all commands for a running hub to the parameters of `hub-request.ts`. */

import { CliFailure, EXIT } from './exit.ts';
import { type HubAddress, hubAddress } from './hub-request.ts';

export interface HubOptions {
  readonly json?: boolean;
  readonly dataDir?: string;
  readonly timeout: string;
}

export interface HubConnection {
  readonly address: HubAddress;
  readonly timeoutMs: number;
  readonly json: boolean;
}

export function hubConnectionFrom(options: HubOptions): HubConnection {
  const seconds = Number(options.timeout);
  if (!Number.isFinite(seconds) || seconds <= 0 || seconds > 3600) {
    throw new CliFailure(
      EXIT.usage,
      `--timeout must be between 0 and 3600 seconds, not ${JSON.stringify(options.timeout)}`,
    );
  }
  return { address: hubAddress(options.dataDir), timeoutMs: seconds * 1000, json: options.json === true };
}

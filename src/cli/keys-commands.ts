/**
 * `mcphub keys create | list | rotate | revoke`, over control's private socket.
 */
import type { KeyAnswer, KeyMade, KeyRequest, KeyRevoked, KeysAnswer } from '../admin/contract.ts';
import { demandConfirmation } from '../operator/confirmation.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { type HubOptions, hubConnectionFrom } from '../operator/hub-options.ts';
import { askControl, bodyOf } from '../operator/hub-request.ts';
import { print, printJson, printMessage, table } from '../operator/output.ts';

const DAY_MS = 86_400_000;

interface CreateOptions extends HubOptions {
  readonly user: string;
  readonly name: string;
  readonly role: string;
  readonly group?: readonly string[];
  readonly expires?: string;
}

export async function createKey(options: CreateOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  if (options.role !== 'owner' && options.role !== 'member') {
    throw new CliFailure(EXIT.usage, `--role must be owner or member, not ${JSON.stringify(options.role)}`);
  }
  if (options.role === 'owner' && options.group)
    throw new CliFailure(EXIT.usage, '--role owner cannot be combined with --group; use --role member');
  const body: KeyRequest = {
    user: options.user,
    name: options.name,
    role: options.role,
    ...(options.group ? { groups: options.group } : {}),
    ...(options.expires === undefined ? {} : { expiresAtMs: expiryFrom(options.expires) }),
  };
  const made = bodyOf<KeyMade>(
    await askControl(hub.address, { method: 'POST', path: '/api/keys', body: body, timeoutMs: hub.timeoutMs }),
  );
  showMade(made, hub.json);
}

function expiryFrom(days: string): number {
  const count = Number(days);
  if (!Number.isFinite(count) || count <= 0 || count > 36_500) {
    throw new CliFailure(
      EXIT.usage,
      `--expires must be a number of days between 0 and 36500, not ${JSON.stringify(days)}`,
    );
  }
  return Date.now() + count * DAY_MS;
}

function showMade(made: KeyMade, json: boolean): void {
  if (json) printJson(made);
  else {
    printMessage(
      `Key ${made.key.prefix}… of ${made.key.user} for ${made.key.name} (${made.key.role}). It is shown only once:`,
    );
    print(made.secret);
  }
  demandConfirmation(made);
}

export async function listKeys(options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const answer = bodyOf<KeysAnswer>(await askControl(hub.address, { path: '/api/keys', timeoutMs: hub.timeoutMs }));
  if (hub.json) {
    printJson(answer);
    return;
  }
  print(
    table(
      ['ID', 'KEY', 'USER', 'NAME', 'ROLE', 'GROUPS', 'LAST USED', 'STATE'],
      answer.keys.map((key) => [
        key.id,
        `${key.prefix}…${key.last4}`,
        key.user,
        key.name,
        key.role,
        key.groups?.join(',') ?? 'all',
        dateOf(key.lastUsedAtMs),
        stateOf(key),
      ]),
    ),
  );
}

function stateOf(key: KeyAnswer): string {
  if (key.revokedAtMs !== undefined) return `revoked ${dateOf(key.revokedAtMs)}`;
  if (key.expiresAtMs === undefined) return 'valid';
  return `${key.expiresAtMs <= Date.now() ? 'expired' : 'until'} ${dateOf(key.expiresAtMs)}`;
}

function dateOf(atMs: number | undefined): string {
  return atMs === undefined ? 'never' : new Date(atMs).toISOString().slice(0, 16).replace('T', ' ');
}

export async function rotateKey(id: string, options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const made = bodyOf<KeyMade>(
    await askControl(hub.address, {
      method: 'POST',
      path: `/api/keys/${encodeURIComponent(id)}/rotate`,
      timeoutMs: hub.timeoutMs,
    }),
  );
  showMade(made, hub.json);
}

export async function revokeKey(id: string, options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const gone = bodyOf<KeyRevoked>(
    await askControl(hub.address, {
      method: 'DELETE',
      path: `/api/keys/${encodeURIComponent(id)}`,
      timeoutMs: hub.timeoutMs,
    }),
  );
  if (hub.json) printJson(gone);
  else print(`Key ${gone.key.prefix}… of ${gone.key.user} for ${gone.key.name} is revoked.`);
  demandConfirmation(gone);
}

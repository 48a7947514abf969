/**
 * Warns about a hub that other machines may reach: keys that travel unencrypted, and groups without a key that a proxy
 * could open to everybody.
 */
import { isIP } from 'node:net';
import type { Snapshot } from '../model/snapshot.ts';
import { type Problems, quoted } from './problems.ts';
import type { Environment } from './variables.ts';

export interface Exposure {
  readonly env: Environment;
  readonly settings: Pick<Snapshot['settings'], 'allowedHosts' | 'trustedProxies'>;
  readonly groups: readonly { readonly name: string; readonly access: 'key' | 'anonymous' }[];
}

/** Adds a warning for each exposure that the configuration does not address. */
export function warnOfExposure({ env, settings, groups }: Exposure, problems: Problems): void {
  const host = (Object.hasOwn(env, 'HOST') ? env.HOST?.trim() : '') ?? '';
  const isOpen = host !== '' && !isLoopbackAddress(host);
  const place = { severity: 'warning', file: 'environment', line: 0, column: 0 } as const;
  if (isOpen && settings.trustedProxies.length === 0)
    problems.add({
      ...place,
      path: 'HOST',
      message: `is ${quoted(host)}: the hub listens beyond this machine without TLS, and keys travel unencrypted`,
      expected: 'a proxy with TLS in front whose address is in settings.trustedProxies, or HOST=127.0.0.1',
    });
  const open = groups.filter(({ access }) => access === 'anonymous').map(({ name }) => quoted(name));
  if (open.length === 0 || (!isOpen && settings.allowedHosts.length === 0)) return;
  const why = isOpen ? `HOST is ${quoted(host)}` : 'settings.allowedHosts names public hosts';
  problems.add({
    ...place,
    file: problems.file === '' ? 'environment' : problems.file,
    path: 'groups',
    message: `${open.slice(0, 5).join(', ')} need no key, and ${why}: a proxy on this machine that adds no header opens them to everybody (docs/security.md)`,
    expected: '"access": "key"',
  });
}

function isLoopbackAddress(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

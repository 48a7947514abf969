/**
 * `mcphub status
 * waits
 * reload`. When control is unavailable, the workers are queried directly.
 */
import { readdir } from 'node:fs/promises';
import type { ReloadAnswer, StatusAnswer, WaitAnswer, WaitsAnswer } from '../admin/contract.ts';
import type { RestartNeeded } from '../admin/restart-needed.ts';
import { demandConfirmation } from '../operator/confirmation.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { type HubConnection, type HubOptions, hubConnectionFrom } from '../operator/hub-options.ts';
import { askControl, askHub, bodyOf } from '../operator/hub-request.ts';
import { print, printJson, printMessage, table } from '../operator/output.ts';
import { plain } from '../operator/printable.ts';
import { ago } from '../runtime/ago.ts';
import { serverTable } from './servers-commands.ts';

export async function status(options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const answer = bodyOf<StatusAnswer>(await askControl(hub.address, { path: '/api/status', timeoutMs: hub.timeoutMs }));
  if (hub.json) {
    printJson(answer);
    return;
  }
  print(
    `mcphub ${answer.version}, up ${ago(answer.process.uptimeMs)}, port ${answer.port}, ${answer.tools} tools, ` +
      `${answer.prompts} prompts, ${answer.resources} resources, ${answer.keys} keys, ${answer.groups} groups`,
  );
  print(
    `configuration ${answer.config.file}${answer.config.refused ? `; a newer version was REFUSED:\n  ${answer.config.refused.errors.join('\n  ')}` : ''}`,
  );
  for (const line of restartLines(answer.config.restartNeeded)) print(line);
  print(
    `store ${answer.store.state}${answer.store.cause ? ` (${answer.store.cause})` : ''}, snapshot ${answer.revision}`,
  );
  const { requests, '4xx': refused, '5xx': failed, aborted, rejected } = answer.clientRequests;
  print(
    `requests ${requests}: ${refused} with status 4xx, ${failed} with 5xx, ${aborted} without a response; ${rejected} connections rejected`,
  );
  for (const { server, bytes } of answer.catalogsTooLarge)
    print(
      `DEGRADED: catalog of ${server} too large (${bytes} bytes): not shared with new workers; raise snapshotBytes`,
    );
  for (const hub of answer.hubs)
    print(
      `worker ${hub.slot}: ${hub.connected ? `connected, pid ${hub.pid}, snapshot ${hub.revision}` : 'not connected'}`,
    );
  print('');
  print(serverTable(answer.servers));
}

function restartLines({ workers, hub }: RestartNeeded = { workers: [], hub: [] }): string[] {
  const line = (limits: readonly string[], how: string): string[] =>
    limits.length === 0 ? [] : [`RESTART NEEDED for ${limits.join(', ')}: ${how}`];
  return [
    ...line(workers, 'send SIGUSR2 to the hub, which replaces its workers without an interruption'),
    ...line(hub, 'stop and start the hub'),
  ];
}

export async function waits(options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const answer = await askedEverywhere(hub);
  if (hub.json) {
    printJson(answer);
    return;
  }
  const rows = answer.processes.flatMap(({ process, waits: open }) =>
    open.map((wait) => [process, wait.label, plain(wait.owner), ago(wait.ageMs), ago(wait.remainingMs)]),
  );
  print(
    rows.length === 0
      ? 'No process is waiting for anything.'
      : table(['PROCESS', 'WAITS FOR', 'OWNER', 'SINCE', 'ENDS IN'], rows),
  );
  for (const { hub, message } of answer.silent) printMessage(`worker ${hub} did not respond: ${message}`);
}

async function askedEverywhere(hub: HubConnection): Promise<WaitsAnswer> {
  try {
    return bodyOf<WaitsAnswer>(await askControl(hub.address, { path: '/api/waits', timeoutMs: hub.timeoutMs }));
  } catch (fault) {
    const hubs = await hubSlots(hub);
    if (hubs.length === 0) throw fault;
    printMessage('the control process does not respond; querying the workers directly');
    return hubsAlone(hub, hubs);
  }
}

async function hubsAlone(hub: HubConnection, slots: readonly number[]): Promise<WaitsAnswer> {
  const processes: { process: string; waits: readonly WaitAnswer[] }[] = []; // bounded by: hubs
  const silent: { hub: number; message: string }[] = []; // bounded by: hubs
  for (const slot of slots) {
    try {
      const body = bodyOf<{ waits: WaitAnswer[] }>(
        await askHub(hub.address, slot, { path: '/api/waits', timeoutMs: Math.min(hub.timeoutMs, 2000) }),
      );
      processes.push({ process: `hub-${slot}`, waits: body.waits });
    } catch (fault) {
      silent.push({ hub: slot, message: fault instanceof Error ? fault.message : String(fault) });
    }
  }
  return { processes, silent };
}

async function hubSlots(hub: HubConnection): Promise<number[]> {
  try {
    const names = await readdir(hub.address.runDir);
    return names
      .flatMap((name) => (/^hub-(\d+)\.sock$/.test(name) ? [Number(name.slice(4, -5))] : []))
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

export async function reload(options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const asked = await askControl(hub.address, {
    method: 'POST',
    path: '/api/config/reload',
    timeoutMs: hub.timeoutMs,
  });
  if (asked.status === 422) {
    const errors = (asked.body as { error?: { errors?: readonly string[] } }).error?.errors ?? [];
    throw new CliFailure(
      EXIT.badConfig,
      `The file was refused; the previous configuration stays in effect:\n${errors.join('\n')}`,
    );
  }
  const answer = bodyOf<ReloadAnswer>(asked);
  if (hub.json) printJson(answer);
  else
    print(
      `${answer.file}: ${answer.servers} servers (${answer.added.length} added, ${answer.removed.length} removed, ${answer.changed.length} changed)`,
    );
  demandConfirmation(answer);
}

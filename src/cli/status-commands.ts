/**
 * `mcphub status
 * waits
 * reload`. When control is unavailable, the workers are queried directly.
 */
import { readdir } from 'node:fs/promises';
import type { ReloadAnswer, StatusAnswer, WaitAnswer, WaitsAnswer } from '../admin/contract.ts';
import { demandConfirmation } from '../operator/confirmation.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { type HubOptions, hubConnectionFrom, type Talk } from '../operator/hub-options.ts';
import { askControl, askHub, bodyOf } from '../operator/hub-request.ts';
import { print, printJson, say, table } from '../operator/output.ts';
import { plain } from '../operator/printable.ts';
import { ago } from '../runtime/ago.ts';
import { serverTable } from './servers-commands.ts';

export async function status(options: HubOptions): Promise<void> {
  const talk = hubConnectionFrom(options);
  const answer = bodyOf<StatusAnswer>(
    await askControl(talk.address, { path: '/api/status', timeoutMs: talk.timeoutMs }),
  );
  if (talk.json) {
    printJson(answer);
    return;
  }
  print(
    `mcphub ${answer.version}, up ${ago(answer.process.uptimeMs)}, port ${answer.port}, ${answer.tools} tools, ${answer.prompts} prompts, ${answer.resources} resources, ${answer.keys} keys, ${answer.groups} groups`,
  );
  print(
    `configuration ${answer.config.file}${answer.config.refused ? `; a newer version of it was REFUSED:\n  ${answer.config.refused.errors.join('\n  ')}` : ''}`,
  );
  print(
    `store ${answer.store.state}${answer.store.cause ? ` (${answer.store.cause})` : ''}, snapshot ${answer.revision}`,
  );
  const { requests, '4xx': refused, '5xx': failed, aborted, rejected } = answer.clientRequests;
  print(
    `requests ${requests}: ${refused} answered with 4xx, ${failed} with 5xx, ${aborted} without an answer; ${rejected} connections rejected`,
  );
  for (const { server, bytes } of answer.catalogsTooLarge)
    print(
      `DEGRADED: catalog of ${server} too large (${bytes} bytes): not shared with new workers; raise snapshotBytes`,
    );
  for (const hub of answer.hubs)
    print(`hub ${hub.slot}: ${hub.connected ? `connected, pid ${hub.pid}, snapshot ${hub.revision}` : 'away'}`);
  print('');
  print(serverTable(answer.servers));
}

export async function waits(options: HubOptions): Promise<void> {
  const talk = hubConnectionFrom(options);
  const answer = await askedEverywhere(talk);
  if (talk.json) {
    printJson(answer);
    return;
  }
  const rows = answer.processes.flatMap(({ process, waits: open }) =>
    open.map((wait) => [process, wait.label, plain(wait.owner), ago(wait.ageMs), ago(wait.remainingMs)]),
  );
  print(
    rows.length === 0
      ? 'Nobody is waiting for anything.'
      : table(['PROCESS', 'WAITS FOR', 'OWNER', 'SINCE', 'ENDS IN'], rows),
  );
  for (const { hub, message } of answer.silent) say(`hub ${hub} did not answer: ${message}`);
}

async function askedEverywhere(talk: Talk): Promise<WaitsAnswer> {
  try {
    return bodyOf<WaitsAnswer>(await askControl(talk.address, { path: '/api/waits', timeoutMs: talk.timeoutMs }));
  } catch (fault) {
    const hubs = await hubSlots(talk);
    if (hubs.length === 0) throw fault;
    say('control does not answer; asking the hubs one by one');
    return hubsAlone(talk, hubs);
  }
}

async function hubsAlone(talk: Talk, slots: readonly number[]): Promise<WaitsAnswer> {
  const processes: { process: string; waits: readonly WaitAnswer[] }[] = []; // bounded by: hubs
  const silent: { hub: number; message: string }[] = []; // bounded by: hubs
  for (const slot of slots) {
    try {
      const body = bodyOf<{ waits: WaitAnswer[] }>(
        await askHub(talk.address, slot, { path: '/api/waits', timeoutMs: Math.min(talk.timeoutMs, 2000) }),
      );
      processes.push({ process: `hub-${slot}`, waits: body.waits });
    } catch (fault) {
      silent.push({ hub: slot, message: fault instanceof Error ? fault.message : String(fault) });
    }
  }
  return { processes, silent };
}

async function hubSlots(talk: Talk): Promise<number[]> {
  try {
    const names = await readdir(talk.address.runDir);
    return names
      .flatMap((name) => (/^hub-(\d+)\.sock$/.test(name) ? [Number(name.slice(4, -5))] : []))
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

export async function reload(options: HubOptions): Promise<void> {
  const talk = hubConnectionFrom(options);
  const asked = await askControl(talk.address, {
    method: 'POST',
    path: '/api/config/reload',
    timeoutMs: talk.timeoutMs,
  });
  if (asked.status === 422) {
    const errors = (asked.body as { error?: { errors?: readonly string[] } }).error?.errors ?? [];
    throw new CliFailure(
      EXIT.badConfig,
      `The file was refused; what was in force stays in force:\n${errors.join('\n')}`,
    );
  }
  const answer = bodyOf<ReloadAnswer>(asked);
  if (talk.json) printJson(answer);
  else
    print(
      `${answer.file}: ${answer.servers} servers (${answer.added.length} added, ${answer.removed.length} removed, ${answer.changed.length} changed)`,
    );
  demandConfirmation(answer);
}

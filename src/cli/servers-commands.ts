/**
 * `mcphub servers list | restart | logs`.
 */
import type { LogsAnswer, RestartAnswer, ServerAnswer, ServersAnswer } from '../admin/contract.ts';
import { homeOf, serverNotes } from '../admin/server-notes.ts';
import { withoutStop } from '../model/sentence.ts';
import { CliFailure, EXIT } from '../operator/exit.ts';
import { type HubConnection, type HubOptions, hubConnectionFrom } from '../operator/hub-options.ts';
import { askControl, bodyOf } from '../operator/hub-request.ts';
import { paint, print, printJson, printMessage, table, withProgress } from '../operator/output.ts';
import { plain } from '../operator/printable.ts';
import { ago } from '../runtime/ago.ts';

const COLOURS: Readonly<Record<string, string>> = {
  ready: '32',
  asleep: '32',
  connecting: '33',
  waiting: '31',
  stopped: '31',
  disabled: '2',
};
const LOOK_MS = 250;

export async function listServers(options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const answer = await servers(hub);
  if (hub.json) printJson(answer);
  else {
    print(serverTable(answer.servers));
    for (const { name, slug, shadowed = [] } of answer.servers)
      if (shadowed.length > 0)
        printMessage(
          `${name}: resources that another server listed first, available under mcphub://${slug}/: ${shadowed.join(', ')}`,
        );
  }
}

export function serverTable(rows: readonly ServerAnswer[]): string {
  return table(['SERVER', 'STATE', 'SINCE', 'TRANSPORT', 'TOOLS', 'CALLS', 'FAILED', 'CAUSE'], rows.map(rowOf));
}

function rowOf(server: ServerAnswer): string[] {
  const hub = homeOf(server);
  const sum = (pick: 'calls' | 'failures') => String(server.hubs.reduce((total, one) => total + one[pick], 0));
  const phase = hub?.phase && server.state === 'connecting' ? ` (${hub.phase})` : '';
  return [
    plain(server.name),
    paint(`${server.state}${phase}`, COLOURS[server.state] ?? '0'),
    hub ? ago(hub.sinceMs) : '–',
    server.transport,
    String(server.tools),
    sum('calls'),
    sum('failures'),
    plain(serverNotes(server).replaceAll('\n', ' ')),
  ];
}

async function servers(hub: HubConnection): Promise<ServersAnswer> {
  return bodyOf<ServersAnswer>(await askControl(hub.address, { path: '/api/servers', timeoutMs: hub.timeoutMs }));
}

export async function restartServer(name: string, options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const path = `/api/servers/${encodeURIComponent(name)}/restart`;
  const answer = bodyOf<RestartAnswer>(
    await askControl(hub.address, { method: 'POST', path, timeoutMs: hub.timeoutMs }),
  );
  for (const failure of answer.failed) printMessage(`worker ${failure.hub}: ${failure.message}`);
  if (answer.restarting.length === 0) throw new CliFailure(EXIT.error, `No worker restarted ${name}.`);
  const state = await withProgress(`restarting ${name}`, () => untilSettled(name, hub));
  if (hub.json) printJson({ ...answer, state });
  else print(`${name} is ${state}.`);
}

/** Polls until a worker reports a state that is newer than the request and final, or the time is up. */
async function untilSettled(name: string, hub: HubConnection): Promise<string> {
  const bornMs = performance.now();
  for (;;) {
    await new Promise<void>((done) => setTimeout(done, LOOK_MS));
    const server = (await servers(hub)).servers.find((one) => one.name === name || one.slug === name);
    const elapsedMs = performance.now() - bornMs;
    const settled = server?.hubs.some(
      (hub) => hub.sinceMs <= elapsedMs && (hub.state === 'ready' || (hub.state === 'waiting' && hub.restarts > 0)),
    );
    if (settled || elapsedMs > hub.timeoutMs) {
      const state = server?.state ?? 'unknown';
      return server?.cause ? `${state} (${withoutStop(server.cause)})` : state;
    }
  }
}

export async function serverLogs(name: string, options: HubOptions): Promise<void> {
  const hub = hubConnectionFrom(options);
  const answer = bodyOf<LogsAnswer>(
    await askControl(hub.address, {
      path: `/api/servers/${encodeURIComponent(name)}/logs`,
      timeoutMs: hub.timeoutMs,
    }),
  );
  if (hub.json) {
    printJson(answer);
    return;
  }
  for (const failure of answer.failed) printMessage(`worker ${failure.hub}: ${failure.message}`);
  const many = answer.hubs.length > 1;
  for (const { hub, lines } of answer.hubs)
    for (const line of lines) print(plain(many ? `worker ${hub}: ${line}` : line));
  if (answer.hubs.every(({ lines }) => lines.length === 0))
    printMessage(`${name} has no stderr output and no recorded failures.`);
}

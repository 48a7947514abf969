/**
 * The page at `/` of the operator's socket: status, figures, and servers as in `mcphub servers list`, without scripts
 * or external content. Escapes all external text. `downstream/landing-page.ts` is the public page.
 */
import { escapeHtml, htmlPage } from '../model/html-page.ts';
import type { ServerAnswer, StatusAnswer } from './contract.ts';
import { homeOf, serverNotes } from './server-notes.ts';

const STYLE = `
:root{color-scheme:light dark;--ink:#1d2433;--soft:#5b6577;--line:#dde1e8;--back:#fff;--box:#f5f6f8;--good:#177245;--bad:#b3261e;--mid:#8a5a00}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa4b5;--line:#2f3746;--back:#14171d;--box:#1c212a;--good:#5fd39a;--bad:#ff8a80;--mid:#f0b95a}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:68rem;margin:0 auto;padding:3rem 1.25rem 4rem}
h1{font-size:1.7rem;margin:0 0 .25rem;letter-spacing:-.01em}
h2{font-size:1.1rem;margin:2.5rem 0 .75rem}
p{margin:.5rem 0}.soft{color:var(--soft)}
.good{color:var(--good)}.bad{color:var(--bad)}.mid{color:var(--mid)}
.state{font-weight:600}
dl{display:flex;flex-wrap:wrap;gap:.75rem 2.25rem;margin:1.25rem 0 0}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.95rem}
th,td{text-align:left;padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;font-size:.85rem}
td.number{font-variant-numeric:tabular-nums;white-space:nowrap}
td.why{white-space:pre-line;overflow-wrap:anywhere;min-width:18rem}
`;

/** Returns the HTML. */
export function pageFrom(status: StatusAnswer): string {
  return htmlPage({
    style: STYLE,
    main: `<p>${statusSentence(status)}</p>
${figures(status)}
${serverTable(status.servers)}`,
  });
}

function statusSentence(status: StatusAnswer): string {
  const isConnected = status.hubs.some(({ connected }) => connected);
  if (!isConnected) return '<span class="state bad">No worker is connected.</span>';
  const sick = status.servers.filter(({ state }) => !['ready', 'asleep', 'disabled'].includes(state)).length;
  const notes = [
    sick > 0 ? `${sick} of ${status.servers.length} servers are not ready` : '',
    status.store.state === 'failing' ? 'the store is failing' : '',
    status.config.refused ? 'the last configuration was refused' : '',
  ].filter((note) => note !== '');
  if (notes.length === 0) return '<span class="state good">It is running; all servers are ready.</span>';
  return `<span class="state mid">It is running; ${escapeHtml(notes.join(', '))}.</span>`;
}

function figures(status: StatusAnswer): string {
  const connected = status.hubs.filter((hub) => hub.connected).length;
  const rows: readonly (readonly [string, string])[] = [
    ['Version', status.version],
    ['Up for', lengthText(status.process.uptimeMs)],
    ['Revision', String(status.revision)],
    ['Workers', String(connected)],
    ['Servers', String(status.servers.length)],
    ['Tools', String(status.tools)],
    ['Prompts', String(status.prompts)],
    ['Resources', String(status.resources)],
    ['Keys', String(status.keys)],
    ['Requests', requestsText(status.clientRequests)],
    ['Configuration', status.config.file],
  ];
  return `<dl>${rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>`;
}

/** Formats request counts: `1200 (3 refused, 1 failed)`. */
function requestsText({ requests, '4xx': refused, '5xx': failed }: StatusAnswer['clientRequests']): string {
  return refused + failed === 0 ? String(requests) : `${requests} (${refused} refused, ${failed} failed)`;
}

function serverTable(servers: readonly ServerAnswer[]): string {
  if (servers.length === 0) return '<h2>Servers</h2><p class="soft">None is configured yet.</p>';
  const head = ['Name', 'State', 'Since', 'Tools', 'Transport', 'Calls', 'Failed', 'Why'].map(
    (name) => `<th>${name}</th>`,
  );
  return `<h2>Servers</h2><div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>${servers.map(serverRow).join('')}</tbody></table></div>`;
}

function serverRow(server: ServerAnswer): string {
  const { name, transport, state, tools, hubs } = server;
  const home = homeOf(server);
  const sum = (pick: 'calls' | 'failures'): string => String(hubs.reduce((total, one) => total + one[pick], 0));
  const phase = home?.phase && state === 'connecting' ? ` (${home.phase})` : '';
  const cells: readonly (readonly [className: string, text: string])[] = [
    ['', name],
    [`state ${colourOf(state)}`, `${state}${phase}`],
    ['number', home ? lengthText(home.sinceMs) : '–'],
    ['number', String(tools)],
    ['', transport],
    ['number', sum('calls')],
    ['number', sum('failures')],
    ['soft why', serverNotes(server)],
  ];
  return `<tr>${cells.map(([className, text]) => `<td${className ? ` class="${className}"` : ''}>${escapeHtml(text)}</td>`).join('')}</tr>`;
}

function colourOf(state: string): string {
  if (state === 'ready') return 'good';
  return state === 'disabled' || state === 'idle' || state === 'asleep' ? 'soft' : 'mid';
}

/** Formats a duration: `3 d 4 h`, `4 h 12 min`, `12 min`, `8 s`. */
function lengthText(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

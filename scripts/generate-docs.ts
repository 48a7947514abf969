/**
 * Writes the pages of docs/ that are made from tables in the code: `node scripts/generate-docs.ts`.
 * Promises: the same tables give the same text; `generate-docs.test.ts` fails while a page is older than its table.
 * Does not: write docs/config.md, which is prose.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { configJsonSchema } from '../src/config/json-schema.ts';
import { FORMER_NAMES, HUB_LIMITS, LIMIT_NAMES, LIMITS } from '../src/config/limits.ts';
import { quantityText } from '../src/config/quantity.ts';
import { ERRORS, type ErrorCode, type ErrorRow } from '../src/model/errors.ts';

const DOCS = new URL('../docs/', import.meta.url);

export interface Page {
  readonly file: URL;
  readonly text: string;
}

export function generatedPages(): readonly Page[] {
  return [
    { file: new URL('limits.md', DOCS), text: limitsPage() },
    { file: new URL('errors.md', DOCS), text: errorsPage() },
    { file: new URL('mcp_settings.schema.json', DOCS), text: `${JSON.stringify(configJsonSchema(), null, 2)}\n` },
  ];
}

function limitsPage(): string {
  const rows = LIMIT_NAMES.map((name) => {
    const { default: standard, unit, min, max, env, why, applies } = LIMITS[name];
    const range = `${quantityText(min, unit)} – ${quantityText(max, unit)}`;
    const former = FORMER_NAMES[name];
    const also = (text: string | undefined): string => (text === undefined ? '' : ` (formerly \`${text}\`)`);
    return [
      `\`${name}\`${also(former?.name)}`,
      quantityText(standard, unit),
      range,
      `\`${env}\`${also(former?.env)}`,
      HUB_LIMITS.has(name) ? `${applies} of the hub` : applies,
      why,
    ];
  });
  return `${[
    '# Limits',
    '<!-- Made from src/config/limits.ts by scripts/generate-docs.ts; changes here are lost. -->',
    'Every figure that bounds a wait, a size or a count. None of them can be switched off: 0 never means "no limit".',
    'Set one in the configuration file under `limits` (`"silenceMs": "10s"`, `"bodyBytes": "8MiB"`, or plain numbers in ms and bytes), ' +
      'or by its environment variable. A flag wins over the environment, the environment over the file, the file over the default; ' +
      '`mcphub config explain --all` shows every value and where it comes from.',
    '**applies**: when a change of the file takes effect in a running hub. `live`: for everything that begins afterwards (an open circuit ' +
      'breaker keeps its pause); a container that holds more than its new maximum takes nothing until it has shrunk, or drops at once what its ' +
      'rule drops, which does not come back when the limit is raised again. `reconnect`: for a server when ' +
      'its next connection opens (`mcphub servers restart`); what clients send is checked against it at once. `restart`: when the workers ' +
      'are replaced (SIGUSR2); `restart of the hub`: when the hub is stopped and started. Until then the log (`restart-needed`) and ' +
      '`mcphub status` name the limits that wait. `GET /api/ceilings` shows the values in force: on the control ' +
      'socket those of each process, on the port those of the worker that answers.',
    table(['limit', 'default', 'range', 'environment', 'applies', 'why'], rows),
  ].join('\n\n')}\n`;
}

function errorsPage(): string {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map((code) => {
    const row: ErrorRow = ERRORS[code];
    const yes = (flag: boolean): string => (flag ? 'yes' : '');
    return [
      `\`${code}\``,
      String(row.rpc),
      String(row.http),
      yes(row.retryable),
      yes(row.breaker),
      row.level,
      row.message,
      row.hint,
    ];
  });
  return `${[
    '# Errors',
    '<!-- Made from src/model/errors.ts by scripts/generate-docs.ts; changes here are lost. -->',
    'Every failure has a code that never changes. It is `error.data.code` of a JSON-RPC error (`/mcp`, `/sse`, `/messages`), and in ' +
      '`error.code` of `/api`, `/` and the health pages, whose errors all have this body: ' +
      '`{"error":{"code":"forbidden","message":"…","retryable":false}}`, with more members such as `setting` or `retryAfterMs` where they ' +
      'help, and the status of the table (`forbidden` 403, `config-invalid` 422, `store-failed` 503; for others where the table says 200: 503 when a ' +
      'retry may help, else 400). Requests that are refused before their path is known (too many connections, a malformed or slow request) get the ' +
      'JSON-RPC form with `"id":null`.',
    '**retry**: the same request may succeed a little later. **breaker**: it counts for the circuit breaker of the server. ' +
      '**level**: its level in the log.',
    table(['code', 'JSON-RPC', 'HTTP', 'retry', 'breaker', 'level', 'message for the client', 'what to do'], rows),
  ].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { file, text } of generatedPages()) writeFileSync(file, text);
}

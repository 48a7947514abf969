/**
 * Writes docs/cli.md from what the command itself says: `node scripts/generate-cli-page.ts` (part of `npm run docs`).
 * Promises: every command and option that `--help` shows is on the page; `test/docs/cli.test.ts` fails while the page
 * is older than the command.
 * Does not: import the command (it would run); each page of help is asked for as a person asks.
 */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { EXIT } from '../src/operator/exit.ts';

const CLI = fileURLToPath(new URL('../bin/mcphub.js', import.meta.url));
const PAGE = new URL('../docs/cli.md', import.meta.url);

const EXIT_MEANS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: 'success',
  error: 'failure; the message states the cause',
  usage: 'invalid command line',
  notFound: 'no such server, tool, group or key',
  auth: 'not permitted: the hub belongs to another user, or refused the request',
  unreachable: 'no hub runs on the data directory, or it did not respond in time',
  toolError: 'the tool returned an error',
  unconfirmed: 'done, but a worker has not confirmed the change yet (named by `unconfirmed` in the JSON output)',
  badConfig: 'the configuration has errors, or another error that a restart cannot fix',
  interrupted: 'interrupted',
};

export interface Help {
  readonly words: readonly string[];
  readonly text: string;
}

/** Help of the command and of all below it, in the order in which it names them. */
export async function allHelp(words: readonly string[] = []): Promise<Help[]> {
  const text = await helpOf(words);
  const below = await Promise.all(commandsIn(text).map((name) => allHelp([...words, name])));
  return [{ words, text: text.trimEnd() }, ...below.flat()];
}

function helpOf(words: readonly string[]): Promise<string> {
  const env = { PATH: process.env.PATH, NO_COLOR: '1' };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [CLI, ...words, '--help'], { env, timeout: 60_000 }, (fault, stdout) => {
      if (fault) reject(new Error(`mcphub ${words.join(' ')} --help failed`, { cause: fault }));
      else resolve(stdout);
    });
  });
}

/** Names under `Commands:`, without aliases and `help`. */
export function commandsIn(text: string): string[] {
  const [, list = ''] = text.split(/^Commands:$/m);
  return [...list.matchAll(/^ {2}([a-z][\w-]*)/gm)].map(([, name]) => name ?? '').filter((name) => name !== 'help');
}

export function cliPage(pages: readonly Help[]): string {
  const codes = (Object.keys(EXIT) as (keyof typeof EXIT)[]).map((name) => `| ${EXIT[name]} | ${EXIT_MEANS[name]} |`);
  const sections = pages.map(
    ({ words, text }) => `## ${['mcphub', ...words].join(' ')}\n\n\`\`\`text\n${text}\n\`\`\``,
  );
  return `${[
    '# Command line',
    '<!-- Made from `mcphub --help` by scripts/generate-cli-page.ts; changes here are lost. -->',
    'Data goes to stdout and messages to stderr, `--json` prints data as JSON, and colour is used at a terminal only (never with `NO_COLOR`). ' +
      'Commands that talk to a hub find it by its data directory, over a private socket, and need no key. In a clone the command is `npx mcphub`.',
    ['| exit code | means |', '| --- | --- |', ...codes].join('\n'),
    ...sections,
  ].join('\n\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(PAGE, cliPage(await allHelp()));
